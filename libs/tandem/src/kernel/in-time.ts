import { TandemError } from './errors.js';

/** Below the nine seconds after which an idle unit of work is ended: the handler is blamed, and its event, not the whole batch. */
export const HANDLER_TIMEOUT_MS = 8_000;
/** Timers of Node that are longer end at once. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * What a handler returned, or an error when it has not settled in time: a promise that never does would mute its consumer
 * without a word. What settles too late is nobody's any more; its statements are refused, since its unit of work has ended.
 * @throws TANDEM_HANDLER_TIMEOUT
 */
export async function inTime<T>(result: T | PromiseLike<T>, limitMs: number, what: string): Promise<T> {
  if (typeof (result as PromiseLike<T> | undefined)?.then !== 'function') return result;
  return atMost(result as PromiseLike<T>, limitMs, () => new TandemError('TANDEM_HANDLER_TIMEOUT', `${what} has not settled within ${limitMs} ms`));
}

/** The promise, or the error of `late` where it has not settled within so many milliseconds. */
export async function atMost<T>(promise: PromiseLike<T>, limitMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), Math.min(limitMs, LONGEST_MS));
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
