import type { DataSource } from 'typeorm';
import { type ConnectionUse, isWorker } from '../../kernel/connection-use.js';
import type { UnitKind } from '../../kernel/unit-of-work.js';
import { ConnectionPools } from './connection-pools.js';
import { dialectOf } from './driver-link.js';
import { PooledConnection } from './pooled-connection.js';

const pools = new WeakMap<DataSource, ConnectionPools>();

/** The pools of a data source; one that was not made by `tandemDataSource` has only TypeORM's. */
export function poolsOf(dataSource: DataSource): ConnectionPools {
  const known = pools.get(dataSource);
  if (known) return known;
  const made = new ConnectionPools(dataSource);
  pools.set(dataSource, made);
  return made;
}

export function setPools(dataSource: DataSource, made: ConnectionPools): void {
  pools.set(dataSource, made);
}

/** Which pool a transaction of this kind runs on; without a kind, a look or a short transaction of Tandem's own. */
export function useFor(kind?: UnitKind): ConnectionUse {
  if (kind === 'consumer' || isWorker()) return 'worker';
  return kind === 'write' || kind === 'elsewhere' ? 'command' : 'query';
}

/** A connection that nothing has been sent on: not yet taken from the pool. */
export const pooledConnection = (dataSource: DataSource, use: ConnectionUse, onLost?: () => void): PooledConnection =>
  new PooledConnection(poolsOf(dataSource).placeFor(use), dialectOf(dataSource), onLost);

/** Takes a connection outside any unit. @throws TANDEM_ACQUIRE_TIMEOUT, TANDEM_STORAGE_UNAVAILABLE */
export async function acquire(dataSource: DataSource, use: ConnectionUse): Promise<PooledConnection> {
  const connection = pooledConnection(dataSource, use);
  await connection.connect();
  return connection;
}
