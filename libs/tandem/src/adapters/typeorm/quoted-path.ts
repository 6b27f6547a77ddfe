import type { DataSource } from 'typeorm';

/** A table's path with each part quoted. */
export const quotedPath = ({ driver }: Pick<DataSource, 'driver'>, path: string): string =>
  path
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
