import type { Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { quotedPath } from './quoted-path.js';
import { sqlOutside } from './sql.js';

/** Enough to know that it is not one or two. */
const AT_MOST = 100;

/**
 * Live rows whose key the rebuilt table has not. Between the two statements the rebuild passes what the live rows had read by the
 * first one: a row that an event has just made is found then.
 */
export async function missingRows(dataSource: DataSource, entity: Type, shadow: string, caughtUp: () => Promise<boolean>): Promise<number> {
  const metadata = dataSource.getMetadata(entity);
  const keys = metadata.primaryColumns.map(({ databaseName }) => dataSource.driver.escape(databaseName));
  const live = quotedPath(dataSource, metadata.tablePath);
  const same = keys.map((key) => `s.${key} = l.${key}`).join(' AND ');
  const nowhere = `NOT EXISTS (SELECT 1 FROM ${quotedPath(dataSource, shadow)} s WHERE ${same})`;
  const find = (where = '', params: readonly unknown[] = []) =>
    sqlOutside(dataSource, (sql) =>
      sql.query<Record<string, unknown>[]>(`SELECT ${keys.map((key, i) => `l.${key} AS k${i}`).join(', ')} FROM ${live} l WHERE ${nowhere}${where} LIMIT ${AT_MOST}`, params),
    );
  const suspects = await find();
  if (suspects.length === 0 || !(await caughtUp())) return suspects.length;
  const each = `(${keys.map((key) => `l.${key} = ?`).join(' AND ')})`;
  const still = await find(
    ` AND (${suspects.map(() => each).join(' OR ')})`,
    suspects.flatMap((row) => keys.map((_, i) => row[`k${i}`])),
  );
  return still.length;
}
