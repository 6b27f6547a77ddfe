import type { FactoryProvider } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService } from '@nestjs/core';
import { getDataSourceToken } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { PositionSnapshot } from '../../consistency/position-snapshot.js';
import { ConsumerStore } from '../../events/consumer-store.js';
import { DeadLetterStore } from '../../events/dead-letter-store.js';
import { EventLog } from '../../events/event-log.js';
import { JobStore } from '../../jobs/job-store.js';
import { StorageCheck, type TandemStorage } from '../../kernel/adapter.js';
import { Clock } from '../../kernel/clock.js';
import { ConnectionBudget } from '../../kernel/connection-budget.js';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import { ProcessSettings } from '../../kernel/process-settings.js';
import { UnitOfWork } from '../../kernel/unit-of-work.js';
import { RebuildStore, ShadowTables } from '../../read/projection/rebuild/rebuild-store.js';
import { RowStore } from '../../read/projection/row-store.js';
import { CommandStore } from '../../write/command/command-store.js';
import { poolsOf } from './acquire.js';
import { POOL_DEFAULTS } from './connection-pools.js';
import { dialectOf } from './driver-link.js';
import { isJoined } from './join-data-source.js';
import { NamedDataSources } from './named-data-sources.js';
import { CONNECTIONS_OF_COMPARISON } from './position-snapshot.js';
import { TypeOrmRowStore } from './row-store.js';
import { serverLimit } from './server-limit.js';
import { SqlCommandStore } from './sql-command-store.js';
import { TypeOrmShadowTables } from './shadow-tables.js';
import { SqlEventLog } from './sql-event-log.js';
import { SqlJobStore } from './sql-job-store.js';
import { SqlRebuildStore } from './sql-rebuild-store.js';
import { tableNames } from './table-names.js';
import { consumerStore, deadLetterStore, positionSnapshot, READ_SIDE, type ReadSide, type ReadSideOrNone, readSideProvider, schemaCheck } from './two-sides.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

export interface TypeOrmStorageOptions {
  /** Name of the TypeORM data source. Default the default one. */
  readonly dataSource?: string;
  /**
   * Name of a second TypeORM data source for the read side, also made by `tandemDataSource`: projections keep their checkpoints, dead letters and read entities there, and query handlers
   * read there. It may be on another server, and of the other dialect; it needs `tandemMigrations()` too. Default none: the read side is in the log's data source.
   */
  readonly readDataSource?: string;
  /** Names of other data sources that may be used inside a unit of work: what they write there commits by itself, whatever becomes of the unit. Default none: it is refused. */
  readonly notAtomicDataSources?: readonly string[];
  /** Begins the names of Tandem's tables; the same as in `tandemMigrations`. Default `tandem_`. */
  readonly tablePrefix?: string;
  /** What to run when the schema is old, for the error message. Default `npx typeorm migration:run`. */
  readonly migrateCommand?: string;
  /**
   * Connections for commands, at most; 0: they share TypeORM's own pool, which is as large as `poolSize` of the data source says (10 by itself). Default on MariaDB
   * as many as `poolSize`, since on sessions of their own most commands need no START TRANSACTION; elsewhere 0.
   */
  readonly commandPoolSize?: number;
  /** Connections for queries, at most; 0: they share TypeORM's own pool. Default 5. */
  readonly queryPoolSize?: number;
  /** Connections for batches and jobs, at most; 0: they share TypeORM's own pool. Default 8; an `api` process, which runs neither, opens no more than 3. */
  readonly workerPoolSize?: number;
  /** How long a connection of a full pool is waited for, in milliseconds. Default 5,000. */
  readonly acquireTimeoutMs?: number;
  /**
   * How long the answer to one statement is waited for, in milliseconds; 0: without limit. Then the connection counts as lost: a network that swallows packets tells nobody. Keep it above what the longest
   * statement takes, also of what the application sends outside of units of work. Migrations that run before the application starts have no limit. Default 30,000.
   */
  readonly answerTimeoutMs?: number;
  /** How long nothing may be sent in an open unit of work before it is rolled back, in milliseconds. Keep it above `handlerTimeoutMs` and below the database's own limit. Default 9,000. */
  readonly idleTimeoutMs?: number;
}

const OPTIONS: Readonly<Record<keyof TypeOrmStorageOptions, true>> = {
  dataSource: true,
  readDataSource: true,
  notAtomicDataSources: true,
  tablePrefix: true,
  migrateCommand: true,
  commandPoolSize: true,
  queryPoolSize: true,
  workerPoolSize: true,
  acquireTimeoutMs: true,
  answerTimeoutMs: true,
  idleTimeoutMs: true,
};
const ANSWER_TIMEOUT_MS = 30_000;
const WHOLE_FROM: Readonly<Partial<Record<keyof TypeOrmStorageOptions, number>>> = {
  commandPoolSize: 0,
  queryPoolSize: 0,
  workerPoolSize: 0,
  acquireTimeoutMs: 1,
  answerTimeoutMs: 0,
  idleTimeoutMs: 1,
};

/**
 * Keeps Tandem's log, checkpoints and jobs in the application's own TypeORM data source (MySQL, MariaDB or PostgreSQL), which has to be made by `tandemDataSource`.
 * @throws TANDEM_WIRING for an unknown or wrong option, and a table prefix that is no lower-case SQL name.
 */
export function typeOrmStorage(options: TypeOrmStorageOptions = {}): TandemStorage {
  const { dataSource: name, readDataSource, notAtomicDataSources = [], tablePrefix, migrateCommand, idleTimeoutMs, ...pools } = checked(options);
  const tables = tableNames(tablePrefix);
  const source = getDataSourceToken(name);
  const fill = <T>(port: abstract new (...args: never[]) => T, make: (db: DataSource, ...others: never[]) => T, ...inject: unknown[]): FactoryProvider => ({
    provide: port,
    useFactory: make as (...args: unknown[]) => T,
    inject: [source, ...inject] as NonNullable<FactoryProvider['inject']>,
  });
  return {
    port: 'storage',
    describe: 'TypeORM',
    imports: [DiscoveryModule],
    providers: [
      readSideProvider(readDataSource, name),
      fill(
        UnitOfWork,
        (db, clock: Clock, { role }: ProcessSettings, budget: ConnectionBudget, others: NamedDataSources, readSide: ReadSideOrNone) => {
          usePools(mustBeJoined(db), pools, role, budget);
          if (readSide) usePoolsOfReadSide(readSide, pools, role, budget);
          return new TypeOrmUnitOfWork(db, clock, { idleTimeoutMs, readSide: readSide ?? undefined }, others);
        },
        Clock,
        ProcessSettings,
        ConnectionBudget,
        NamedDataSources,
        READ_SIDE,
      ),
      fill(NamedDataSources, (db, discovery: DiscoveryService) => new NamedDataSources(discovery, db, notAtomicDataSources), DiscoveryService),
      fill(StorageCheck, (dataSource, readSide: ReadSideOrNone) => schemaCheck({ dataSource, tables }, readSide, migrateCommand), READ_SIDE),
      fill(EventLog, (db) => new SqlEventLog(db, tables)),
      fill(ConsumerStore, (dataSource, log: EventLog, readSide: ReadSideOrNone) => consumerStore({ dataSource, tables }, log, readSide), EventLog, READ_SIDE),
      fill(DeadLetterStore, (dataSource, readSide: ReadSideOrNone) => deadLetterStore({ dataSource, tables }, readSide), READ_SIDE),
      fill(JobStore, (db) => new SqlJobStore(db, tables)),
      fill(CommandStore, (db) => new SqlCommandStore(db, tables)),
      fill(RebuildStore, (db, readSide: ReadSideOrNone) => new SqlRebuildStore(readSide?.dataSource ?? db, tables), READ_SIDE),
      fill(ShadowTables, (db, readSide: ReadSideOrNone) => new TypeOrmShadowTables(readSide?.dataSource ?? db, tables), READ_SIDE),
      fill(RowStore, (db, readSide: ReadSideOrNone) => new TypeOrmRowStore(readSide?.dataSource ?? db), READ_SIDE),
      fill(
        PositionSnapshot,
        (dataSource, readSide: ReadSideOrNone, units: UnitOfWork, store: ConsumerStore) => positionSnapshot({ dataSource, tables }, readSide, { units, store }),
        READ_SIDE,
        UnitOfWork,
        ConsumerStore,
      ),
    ],
  };
}

function checked(options: TypeOrmStorageOptions): TypeOrmStorageOptions {
  const known = knownOptions('typeOrmStorage', options, OPTIONS);
  for (const [name, from] of Object.entries(WHOLE_FROM)) {
    const value = known[name as keyof TypeOrmStorageOptions];
    if (value !== undefined && !(Number.isSafeInteger(value) && Number(value) >= from))
      throw new TandemError('TANDEM_WIRING', `\`${name}\` of typeOrmStorage is not a whole number from ${from}`);
  }
  return known;
}

type Pools = Pick<TypeOrmStorageOptions, 'commandPoolSize' | 'queryPoolSize' | 'workerPoolSize' | 'acquireTimeoutMs' | 'answerTimeoutMs'>;

function usePools(db: DataSource, given: Pools, role: ProcessSettings['role'], budget: ConnectionBudget): void {
  const { workerPoolSize = POOL_DEFAULTS.workerPoolSize, answerTimeoutMs = ANSWER_TIMEOUT_MS } = given;
  const pools = poolsOf(db);
  pools.configure({ ...given, answerTimeoutMs, workerPoolSize: role === 'api' ? Math.min(workerPoolSize, CONNECTIONS_OF_COMPARISON) : workerPoolSize });
  budget.ofLog({ server: dialectOf(db), shares: () => pools.shares(), limit: () => serverLimit(db) });
}

/** Commands do not run there. */
function usePoolsOfReadSide({ dataSource, name }: ReadSide, given: Pools, role: ProcessSettings['role'], budget: ConnectionBudget): void {
  const { workerPoolSize = POOL_DEFAULTS.workerPoolSize, answerTimeoutMs = ANSWER_TIMEOUT_MS } = given;
  const pools = poolsOf(mustBeJoined(dataSource, name));
  pools.configure({ ...given, answerTimeoutMs, commandPoolSize: 0, workerPoolSize: role === 'api' ? Math.min(workerPoolSize, CONNECTIONS_OF_COMPARISON) : workerPoolSize });
  budget.beside(dialectOf(dataSource), () => pools.shares().map(({ of, atMost }) => ({ of: `${of} of "${name}"`, atMost })));
}

function mustBeJoined(dataSource: DataSource, name?: string): DataSource {
  if (isJoined(dataSource)) return dataSource;
  const which = name === undefined ? 'The data source of typeOrmStorage' : `The data source "${name}", \`readDataSource\` of typeOrmStorage,`;
  throw new TandemError('TANDEM_WIRING', `${which} was not made by tandemDataSource, so repositories would not join the unit of work`, {
    next: 'Import it with TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource }).',
  });
}
