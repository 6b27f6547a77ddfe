import { setTimeout as sleep } from 'node:timers/promises';
import { isRetryable } from './sql.js';

const TRIES = 5;
const MAX_PAUSE_MS = 100;

/** Runs a short transaction of the adapter's own again when the database asks for it (deadlock, lock time-out), at most five times. */
export async function repeated<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === TRIES || !isRetryable(error)) throw error;
      await sleep(Math.random() * MAX_PAUSE_MS);
    }
  }
}
