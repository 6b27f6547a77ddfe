import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * What a connection to the database is taken for. Each use has a pool of its own, so that a burst of one keeps nobody else waiting:
 * `command` for units of work of commands, `query` for snapshots and the short looks of operators and caches, `worker` for batches,
 * jobs and the reconciler, `outside` for what the application does outside of units of work.
 */
export type ConnectionUse = 'command' | 'query' | 'worker' | 'outside';

export const CONNECTION_USES: readonly ConnectionUse[] = ['command', 'query', 'worker', 'outside'];

const workers = new AsyncLocalStorage<true>();

/** Whatever `work` sends to the database, it sends on connections of the workers' pool: also the commands and queries that a job executes. */
export const asWorker = <T>(work: () => T): T => workers.run(true, work);

export const isWorker = (): boolean => workers.getStore() === true;
