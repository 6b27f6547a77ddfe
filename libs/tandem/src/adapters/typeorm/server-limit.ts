import type { DataSource } from 'typeorm';
import { dialectOf } from './driver-link.js';
import { sqlOutside } from './sql.js';

/** How many connections the server takes of users without special rights. PGlite has one session, however many connections share it. */
export async function serverLimit(dataSource: DataSource): Promise<number | undefined> {
  const text =
    dialectOf(dataSource) === 'mysql'
      ? 'SELECT @@max_connections AS n'
      : `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS n, version() AS version`;
  const [row] = await sqlOutside(dataSource, (sql) => sql.query<{ n: number | string; version?: string }[]>(text));
  return isOneSession(row?.version) ? undefined : Number(row?.n);
}

/** Of PGlite, by what it says to be built by. */
export const isOneSession = (version = ''): boolean => /emscripten|emcc|wasm/i.test(version);
