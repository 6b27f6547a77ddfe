import { DataSource, type DataSourceOptions, type MigrationInterface } from 'typeorm';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import type { UnitOfWork } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { tandemMigrations } from '../../libs/tandem/src/adapters/typeorm/migrations/tandem-migrations.js';
import { tableNames, type TableNames } from '../../libs/tandem/src/adapters/typeorm/table-names.js';
import { tandemDataSource } from '../../libs/tandem/src/adapters/typeorm/tandem-data-source.js';
import { TypeOrmUnitOfWork } from '../../libs/tandem/src/adapters/typeorm/typeorm-unit-of-work.js';
import { sqlTransaction } from '../../libs/tandem/src/adapters/typeorm/sql.js';
import type { SqlBackend } from './backends.js';

/** A fresh database with Tandem's tables, and units of work on it. */
export interface TandemDatabase {
  readonly dataSource: DataSource;
  readonly units: UnitOfWork;
  readonly tables: TableNames;
  /** Closes the data source first. */
  drop(): Promise<void>;
}

export interface TandemDatabaseOptions {
  readonly entities?: DataSourceOptions['entities'];
  /** Besides Tandem's own. */
  readonly migrations?: readonly (new () => MigrationInterface)[];
  /** Default 20. */
  readonly poolSize?: number;
}

export async function tandemDatabase(backend: SqlBackend, options: TandemDatabaseOptions = {}): Promise<TandemDatabase> {
  const database = await backend.create();
  const dataSource = await tandemDataSource({
    ...database.dataSourceOptions,
    poolSize: options.poolSize ?? 20,
    entities: options.entities,
    migrations: [...tandemMigrations(), ...(options.migrations ?? [])],
  } as DataSourceOptions);
  await dataSource.initialize();
  await dataSource.runMigrations();
  return {
    dataSource,
    units: new TypeOrmUnitOfWork(dataSource, new Clock()),
    tables: tableNames(),
    async drop() {
      await dataSource.destroy();
      await database.drop();
    },
  };
}

/** As it was when it was new. */
export async function emptyTandem({ dataSource, tables }: TandemDatabase): Promise<void> {
  const { checkpoint, command, consumer, deadLetter, event, job, rebuild, shard } = tables;
  await sqlTransaction(dataSource, async (sql) => {
    for (const table of [event, checkpoint, consumer, deadLetter, rebuild, job, command]) await sql.query(`DELETE FROM ${table}`);
    await sql.query(`UPDATE ${shard} SET head = 0, job_head = 0`);
  });
}
