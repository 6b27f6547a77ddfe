/**
 * The storage's parts where the read side has a data source of its own (`readDataSource`), and where it has none. A projection's
 * batch is then one transaction there; the log, which only grows, is read outside of it, each statement on a connection of its own.
 */
import type { FactoryProvider } from '@nestjs/common';
import { getDataSourceToken } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import type { PositionSnapshot } from '../../consistency/position-snapshot.js';
import type { ConsumerStore } from '../../events/consumer-store.js';
import type { DeadLetterStore } from '../../events/dead-letter-store.js';
import type { EventLog } from '../../events/event-log.js';
import type { StorageCheck } from '../../kernel/adapter.js';
import { TandemError } from '../../kernel/errors.js';
import type { UnitOfWork } from '../../kernel/unit-of-work.js';
import { BothSchemas, BothSidesConsumerStore, BothSidesDeadLetterStore, ProjectionNames } from './both-sides-stores.js';
import { DEFAULT_DATA_SOURCE } from './named-data-sources.js';
import { TypeOrmPositionSnapshot } from './position-snapshot.js';
import { ReadSideConsumerStore } from './read-side-consumer-store.js';
import { SchemaCheck } from './schema-check.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';
import { dataSourceOf } from './sql.js';
import type { TableNames } from './table-names.js';
import { TwoSidesPositionSnapshot } from './two-sides-position-snapshot.js';

export interface ReadSide {
  readonly name: string;
  readonly dataSource: DataSource;
  readonly projections: ProjectionNames;
}

/** Null: the log's data source has the read side too. */
export type ReadSideOrNone = ReadSide | null;

/** Where the log is. */
export interface LogPlace {
  readonly dataSource: DataSource;
  readonly tables: TableNames;
}

export const READ_SIDE = Symbol('tandem:read-side');

/** @throws TANDEM_WIRING when both are the same. */
export function readSideProvider(name: string | undefined, logDataSource = DEFAULT_DATA_SOURCE): FactoryProvider<ReadSideOrNone> {
  if (name === undefined) return { provide: READ_SIDE, useFactory: () => null };
  if (name === logDataSource)
    throw new TandemError('TANDEM_WIRING', `\`readDataSource\` of typeOrmStorage names the log's own data source "${name}"`, {
      next: 'Leave it out: the read side is there by itself.',
    });
  const useFactory = (dataSource: DataSource): ReadSide => ({ name, dataSource, projections: new ProjectionNames() });
  return { provide: READ_SIDE, useFactory, inject: [getDataSourceToken(name) as string] };
}

export function consumerStore({ dataSource, tables }: LogPlace, log: EventLog, readSide: ReadSideOrNone): ConsumerStore {
  const ofLog = new SqlConsumerStore(dataSource, tables);
  if (!readSide) return ofLog;
  const stores = { log: ofLog, read: new ReadSideConsumerStore(readSide.dataSource, tables, log) };
  return new BothSidesConsumerStore(stores, (unit) => (dataSourceOf(unit) === readSide.dataSource ? 'read' : 'log'), readSide.projections);
}

export function deadLetterStore({ dataSource, tables }: LogPlace, readSide: ReadSideOrNone): DeadLetterStore {
  const ofLog = new SqlDeadLetterStore(dataSource, tables);
  if (!readSide) return ofLog;
  return new BothSidesDeadLetterStore({ log: ofLog, read: new SqlDeadLetterStore(readSide.dataSource, tables) }, readSide.projections);
}

export function schemaCheck({ dataSource, tables }: LogPlace, readSide: ReadSideOrNone, migrateCommand?: string): StorageCheck {
  const ofLog = new SchemaCheck(dataSource, tables, migrateCommand);
  if (!readSide) return ofLog;
  return new BothSchemas({ log: ofLog, read: new SchemaCheck(readSide.dataSource, tables, migrateCommand, ` (data source "${readSide.name}")`) });
}

interface SnapshotPorts {
  readonly units: UnitOfWork;
  readonly store: ConsumerStore;
}

export function positionSnapshot(log: LogPlace, readSide: ReadSideOrNone, ports: SnapshotPorts): PositionSnapshot {
  return readSide ? new TwoSidesPositionSnapshot(log, readSide, ports) : new TypeOrmPositionSnapshot(log.dataSource, log.tables, ports.units, ports.store);
}
