import DataLoader from 'dataloader';

/**
 * Calls that come while one is under way share the next one, so that the busier a process is the fewer statements it sends for
 * each of them; one that comes alone goes at once. `work` answers in the order of the keys, `atOnce` of them at most.
 */
export function grouped<K, V>(atOnce: number, work: (keys: readonly K[]) => Promise<readonly V[]>): (key: K) => Promise<V> {
  let underWay: Promise<unknown> = Promise.resolve();
  const loader = new DataLoader<K, V>(
    (keys) => {
      const running = work(keys);
      underWay = running.catch(() => undefined); // those who asked have the error
      return running;
    },
    { cache: false, maxBatchSize: atOnce, batchScheduleFn: (begin) => void underWay.then(begin) },
  );
  return (key) => loader.load(key);
}
