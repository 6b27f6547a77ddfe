import { atMost } from '../../kernel/in-time.js';
import type { PoolPlace } from './connection-pools.js';

/** What a pool gives; `giveBack` is called where it comes too late. @throws TANDEM_ACQUIRE_TIMEOUT */
export function withinTime<T>(connecting: Promise<T>, pool: PoolPlace, giveBack: () => unknown): Promise<T> {
  return atMost(connecting, pool.acquireTimeoutMs(), () => {
    connecting.then(giveBack, () => undefined); // its error is nobody's
    return pool.full();
  });
}
