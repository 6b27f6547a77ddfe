import type { FactoryProvider } from '@nestjs/common';
import { getDataSourceToken } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { PositionSnapshot } from '../../consistency/position-snapshot.js';
import { ConsumerStore } from '../../events/consumer-store.js';
import { DeadLetterStore } from '../../events/dead-letter-store.js';
import { EventLog } from '../../events/event-log.js';
import { JobStore } from '../../jobs/job-store.js';
import { StorageCheck, type TandemStorage } from '../../kernel/adapter.js';
import { Clock } from '../../kernel/clock.js';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import { UnitOfWork } from '../../kernel/unit-of-work.js';
import { RowStore } from '../../read/projection/row-store.js';
import { isJoined } from './join-data-source.js';
import { TypeOrmPositionSnapshot } from './position-snapshot.js';
import { TypeOrmRowStore } from './row-store.js';
import { SchemaCheck } from './schema-check.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';
import { SqlEventLog } from './sql-event-log.js';
import { SqlJobStore } from './sql-job-store.js';
import { tableNames } from './table-names.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

export interface TypeOrmStorageOptions {
  /** Name of the TypeORM data source. Default the default one. */
  readonly dataSource?: string;
  /** Begins the names of Tandem's tables; the same as in `tandemMigrations`. Default `tandem_`. */
  readonly tablePrefix?: string;
  /** What to run when the schema is old, for the error message. Default `npx typeorm migration:run`. */
  readonly migrateCommand?: string;
  /** How long a unit of work waits for a connection of the pool, in milliseconds. Default 5,000. */
  readonly acquireTimeoutMs?: number;
  /** How long nothing may be sent in an open unit of work before it is rolled back, in milliseconds. Keep it above `handlerTimeoutMs` and below the database's own limit. Default 9,000. */
  readonly idleTimeoutMs?: number;
}

const OPTIONS: Readonly<Record<keyof TypeOrmStorageOptions, true>> = { dataSource: true, tablePrefix: true, migrateCommand: true, acquireTimeoutMs: true, idleTimeoutMs: true };

/**
 * Keeps Tandem's log, checkpoints and jobs in the application's own TypeORM data source (MySQL, MariaDB or PostgreSQL), which has to be made by `tandemDataSource`.
 * @throws TANDEM_WIRING for an unknown option, and a table prefix that is no lower-case SQL name.
 */
export function typeOrmStorage(options: TypeOrmStorageOptions = {}): TandemStorage {
  const { dataSource, tablePrefix, migrateCommand, acquireTimeoutMs, idleTimeoutMs } = knownOptions('typeOrmStorage', options, OPTIONS);
  const tables = tableNames(tablePrefix);
  const source = getDataSourceToken(dataSource);
  const fill = <T>(port: abstract new (...args: never[]) => T, make: (db: DataSource, ...others: never[]) => T, ...inject: unknown[]): FactoryProvider => ({
    provide: port,
    useFactory: make as (...args: unknown[]) => T,
    inject: [source, ...inject] as NonNullable<FactoryProvider['inject']>,
  });
  return {
    port: 'storage',
    describe: 'TypeORM',
    providers: [
      fill(UnitOfWork, (db, clock: Clock) => new TypeOrmUnitOfWork(mustBeJoined(db), clock, { acquireTimeoutMs, idleTimeoutMs }), Clock),
      fill(StorageCheck, (db) => new SchemaCheck(db, tables, migrateCommand)),
      fill(EventLog, (db) => new SqlEventLog(db, tables)),
      fill(ConsumerStore, (db) => new SqlConsumerStore(db, tables)),
      fill(DeadLetterStore, (db) => new SqlDeadLetterStore(db, tables)),
      fill(JobStore, (db) => new SqlJobStore(db, tables)),
      fill(RowStore, (db) => new TypeOrmRowStore(db)),
      fill(PositionSnapshot, (db, units: UnitOfWork, store: ConsumerStore) => new TypeOrmPositionSnapshot(db, tables, units, store), UnitOfWork, ConsumerStore),
    ],
  };
}

function mustBeJoined(dataSource: DataSource): DataSource {
  if (isJoined(dataSource)) return dataSource;
  throw new TandemError('TANDEM_WIRING', 'The data source of typeOrmStorage was not made by tandemDataSource, so repositories would not join the unit of work', {
    next: 'Import it with TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource }).',
  });
}
