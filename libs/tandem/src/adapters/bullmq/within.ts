import { atMost } from '../../kernel/in-time.js';

/** Settles as `work` does, or rejects after `ms` milliseconds. The work goes on; its late answer is dropped. */
export const within = <T>(ms: number, what: string, work: Promise<T>): Promise<T> => atMost(work, ms, () => new LateAnswer(`${what} timed out after ${ms} ms`));

/** The other side did not answer in time. */
export class LateAnswer extends Error {}
