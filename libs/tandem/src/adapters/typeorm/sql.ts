/**
 * SQL of Tandem's own tables: raw statements on the driver's connection, because begin, append and COMMIT through TypeORM cost
 * a fifth of the throughput. One text for both databases: `?` placeholders (also on PostgreSQL), a list for `IN (?)`.
 * PostgreSQL's `?` operators cannot be written here; the functions behind them can.
 */
import type { DataSource, EntityManager } from 'typeorm';
import type { ConnectionUse } from '../../kernel/connection-use.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { acquire, useFor } from './acquire.js';
import type { Sql } from './driver-link.js';
import { isConnectionLost } from './sql-errors.js';

export { inTransaction } from './driver-link.js';
export type { Sql } from './driver-link.js';
export { isConnectionLost, isDuplicateKey, isRetryable } from './sql-errors.js';
export { valuesList } from './statement-text.js';
export type { BoundText, Dialect } from './statement-text.js';

interface UnitConnection {
  readonly dataSource: DataSource;
  readonly sql: Sql;
  readonly manager: () => EntityManager;
  readonly commitWith: <R>(text: string, params: readonly unknown[]) => Promise<R>;
}

/** On the unit itself: entries of a WeakMap, one for each command and query, would keep the garbage collector busy. */
const CONNECTION = Symbol('tandem:connection');
type Bound = Unit & { [CONNECTION]?: UnitConnection };

/** For the unit of work: which connection a unit's statements run on. */
export function bindUnit(unit: Unit, connection: UnitConnection): void {
  (unit as Bound)[CONNECTION] = connection;
}

function connectionOf(unit: Unit): UnitConnection {
  const connection = (unit as Bound)[CONNECTION];
  if (unit.kind === 'elsewhere') throw new TandemError('TANDEM_OTHER_DATA_SOURCE', "Something of Tandem's was used in a unit of work on another data source than the log's");
  if (!connection) throw new TandemError('TANDEM_OTHER_DATA_SOURCE', 'A store of the TypeORM adapter was given a unit of work of another adapter');
  return connection;
}

/** Raw statements in the unit's transaction: one after the other, refused when the unit is closed or doomed, watched for errors that doom it. */
export const sqlOf = (unit: Unit): Sql => connectionOf(unit).sql;

export const dataSourceOf = (unit: Unit): DataSource => connectionOf(unit).dataSource;

/**
 * In the unit's transaction, where it is one of this data source; otherwise, and without a unit, outside of any. Where a batch on the read
 * side's data source reads the log it holds one connection and takes another: of the pool whose users never wait for a second one.
 */
export function sqlAt<T>(dataSource: DataSource, unit: Unit | undefined, work: (sql: Sql) => Promise<T>): Promise<T> {
  if (!unit) return sqlOutside(dataSource, work);
  const connection = connectionOf(unit);
  return connection.dataSource === dataSource ? work(connection.sql) : sqlOutside(dataSource, work, 'query');
}

/** The EntityManager on the unit's connection, watched in the same way. */
export const managerOf = (unit: Unit): EntityManager => connectionOf(unit).manager();

/**
 * Ends the unit with a statement whose last act is COMMIT. The unit is closed first, so nothing can follow in autocommit.
 * @throws TANDEM_COMMIT_UNKNOWN when nobody can tell whether it committed; otherwise what failed, and nothing was written.
 */
export const commitWith = <R>(unit: Unit, text: string, params: readonly unknown[]): Promise<R> => connectionOf(unit).commitWith<R>(text, params);

/** A lost connection is told as in units of work, so that callers need not know drivers' errors. */
const told = (error: unknown): unknown =>
  isConnectionLost(error) ? new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'The connection was lost while the database was asked', { cause: error }) : error;

/** One or several statements on a pooled connection of their own, outside any unit, each committed by itself. */
export async function sqlOutside<T>(dataSource: DataSource, work: (sql: Sql) => Promise<T>, use: ConnectionUse = useFor()): Promise<T> {
  const connection = await acquire(dataSource, use);
  try {
    return await work(connection);
  } catch (error) {
    throw told(error);
  } finally {
    await connection.release();
  }
}

/**
 * A short READ COMMITTED transaction of its own, outside any unit; rolled back when `work` throws. Not repeated on a deadlock.
 * @throws what `work` threw; TANDEM_COMMIT_FAILED, TANDEM_COMMIT_UNKNOWN, TANDEM_ACQUIRE_TIMEOUT, TANDEM_STORAGE_UNAVAILABLE.
 */
export async function sqlTransaction<T>(dataSource: DataSource, work: (sql: Sql) => Promise<T>): Promise<T> {
  const connection = await acquire(dataSource, useFor());
  try {
    await connection.begin('write');
    const result = await work(connection);
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback();
    throw told(error);
  } finally {
    await connection.release();
  }
}
