import { Injectable } from '@nestjs/common';

/** Timers of Node that are longer end at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** The time of this process. Positions, due dates and leases never use it: those come from the database's clock. */
@Injectable()
export class Clock {
  /** Milliseconds since the epoch. */
  now(): number {
    return Date.now();
  }

  /** Resolves after `ms` milliseconds (24 days at most), or at once when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(done, Math.min(ms, LONGEST_MS));
      signal?.addEventListener('abort', done, { once: true });
      function done() {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      }
    });
  }
}
