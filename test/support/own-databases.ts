import { type MysqlName, OwnMysql } from './own-mysql.js';
import { OwnPostgres } from './own-postgres.js';

export type OwnDatabase = OwnMysql | OwnPostgres;

export interface OwnDatabaseKind {
  readonly name: MysqlName | 'postgres';
  create(...settings: string[]): Promise<OwnDatabase>;
}

/** Database servers that a test may kill and start again, where this machine can run them. */
export const ownDatabases = (): readonly OwnDatabaseKind[] => [
  ...OwnMysql.available.map((name) => ({ name, create: (...settings: string[]) => OwnMysql.create(name, ...settings) })),
  ...(OwnPostgres.available ? [{ name: 'postgres' as const, create: OwnPostgres.create.bind(OwnPostgres) }] : []),
];
