import type { MigrationInterface } from 'typeorm';
import { knownOptions } from '../../../kernel/known-options.js';
import { DEFAULT_TABLE_PREFIX, tableNames, type TableNames } from '../table-names.js';
import { CreateTables } from './create-tables.js';

type Step = new (tables: TableNames) => MigrationInterface;

/** What `schema_version` in the meta table says when all steps have run: each new step raises both. */
export const SCHEMA_VERSION = 1;

/** In order. A step that was released is never changed: add another one. The number is TypeORM's timestamp. */
const STEPS: readonly (readonly [name: string, step: Step])[] = [['create_tables1763800000000', CreateTables]];

/**
 * Tandem's migrations, for the `migrations` of the data source beside the application's own. They know MySQL, MariaDB and
 * PostgreSQL. `tablePrefix` (default `tandem_`) must be the one given to `typeOrmStorage`; each prefix is a log of its own.
 *
 * @example `migrations: [...tandemMigrations(), CreateOrders1763900000000]`
 * @throws TANDEM_WIRING for an unknown option, and a prefix that is no plain lower-case name.
 */
export function tandemMigrations(options: { readonly tablePrefix?: string } = {}): (new () => MigrationInterface)[] {
  const { tablePrefix = DEFAULT_TABLE_PREFIX } = knownOptions('tandemMigrations', options, { tablePrefix: true });
  const tables = tableNames(tablePrefix);
  return STEPS.map(([stepName, step]) => forPrefix(`${tablePrefix}${stepName}`, step, tables));
}

/** TypeORM takes classes without parameters and knows them by a name that ends in a timestamp. */
function forPrefix(name: string, step: Step, tables: TableNames): new () => MigrationInterface {
  const migration = class implements MigrationInterface {
    readonly name = name;
    private readonly step = new step(tables);
    up: MigrationInterface['up'] = (queryRunner) => this.step.up(queryRunner) as Promise<unknown>;
    down: MigrationInterface['down'] = (queryRunner) => this.step.down(queryRunner) as Promise<unknown>;
  };
  Object.defineProperty(migration, 'name', { value: name });
  return migration;
}
