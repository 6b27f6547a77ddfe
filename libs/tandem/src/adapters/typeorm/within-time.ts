import type { PoolPlace } from './connection-pools.js';

/** What a pool gives; `giveBack` is called where it comes too late. @throws TANDEM_ACQUIRE_TIMEOUT */
export async function withinTime<T>(connecting: Promise<T>, pool: PoolPlace, giveBack: () => unknown): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      connecting.then(giveBack, () => undefined); // its error is nobody's
      reject(pool.full());
    }, pool.acquireTimeoutMs());
  });
  try {
    return await Promise.race([connecting, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
