import { OwnMariadb } from './own-mariadb.js';
import { OwnPostgres } from './own-postgres.js';

export type OwnDatabase = OwnMariadb | OwnPostgres;

export interface OwnDatabaseKind {
  readonly name: 'mariadb' | 'postgres';
  create(...settings: string[]): Promise<OwnDatabase>;
}

/** Database servers that a test may kill and start again, where this machine can run them. */
export const ownDatabases = (): readonly OwnDatabaseKind[] => [
  ...(OwnMariadb.available ? [{ name: 'mariadb' as const, create: OwnMariadb.create.bind(OwnMariadb) }] : []),
  ...(OwnPostgres.available ? [{ name: 'postgres' as const, create: OwnPostgres.create.bind(OwnPostgres) }] : []),
];
