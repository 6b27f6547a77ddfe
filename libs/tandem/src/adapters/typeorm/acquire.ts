import type { DataSource } from 'typeorm';
import { scopes, type UnitKind } from '../../kernel/unit-of-work.js';
import { dialectOf } from './driver-link.js';
import { PooledConnection } from './pooled-connection.js';

/** How long a connection of the pool is waited for, in milliseconds. mysql2 has no limit of its own: ten units that each wait for a second connection would hang for ever. */
export const ACQUIRE_TIMEOUT_MS = 5_000;

/** A connection that nothing has been sent on: not yet taken from the pool. */
export const pooledConnection = (dataSource: DataSource, onLost?: () => void): PooledConnection =>
  new PooledConnection(
    scopes.run(undefined, () => dataSource.createQueryRunner('master')),
    dialectOf(dataSource),
    onLost,
  );

/** Takes a connection from the pool, outside any unit; with a kind, begins a transaction on it. @throws TANDEM_ACQUIRE_TIMEOUT, TANDEM_STORAGE_UNAVAILABLE */
export async function acquire(dataSource: DataSource, kind?: UnitKind): Promise<PooledConnection> {
  const connection = pooledConnection(dataSource);
  await connection.connect(ACQUIRE_TIMEOUT_MS);
  if (kind === undefined) return connection;
  try {
    await connection.begin(kind);
    return connection;
  } catch (error) {
    await connection.release();
    throw error;
  }
}
