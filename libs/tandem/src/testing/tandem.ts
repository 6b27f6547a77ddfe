import type { INestApplicationContext } from '@nestjs/common';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { ConsumerRuntime } from '../events/consumer-runtime.js';
import { ConsumerStore } from '../events/consumer-store.js';
import { DeadLetterStore } from '../events/dead-letter-store.js';
import { JobStore } from '../jobs/job-store.js';
import { Clock } from '../kernel/clock.js';
import { TandemError } from '../kernel/errors.js';

export interface TandemTester {
  /**
   * Resolves when every consequence of what was sent is worked off: projections and sagas at the head of the log, no job
   * waiting or running, no event waiting for its next try.
   * @throws TANDEM_NOT_IDLE naming what is stuck: at once for what is parked or halted, after `timeoutMs` (default 10,000) for the rest.
   */
  idle(options?: { readonly timeoutMs?: number }): Promise<void>;
}

interface Findings {
  /** Will not move by itself. */
  readonly stuck: readonly string[];
  readonly busy: readonly string[];
}

const POLL_MS = 10;

/** What a test asks of a running Tandem application or testing module. */
export function tandem(application: INestApplicationContext): TandemTester {
  const get = <T>(token: abstract new (...args: never[]) => T): T => application.get<T>(token as never, { strict: false });
  return {
    async idle({ timeoutMs = 10_000 } = {}) {
      const clock = get(Clock);
      const deadline = clock.now() + timeoutMs;
      for (;;) {
        const { busy, stuck } = await look(get(ConsumerStore), get(DeadLetterStore), get(JobStore));
        if (stuck.length > 0) throw new TandemError('TANDEM_NOT_IDLE', `Stuck: ${stuck.join('; ')}`, { data: { stuck } });
        if (busy.length === 0) return;
        if (clock.now() > deadline) throw new TandemError('TANDEM_NOT_IDLE', `Still busy after ${timeoutMs} ms: ${busy.join('; ')}`, { data: { stuck: busy } });
        const runtime = get(ConsumerRuntime);
        if (runtime.isWorking) await Promise.all(get(ConsumerRegistry).consumers.map((consumer) => runtime.catchUp(consumer)));
        await clock.sleep(POLL_MS);
      }
    },
  };
}

async function look(store: ConsumerStore, letters: DeadLetterStore, jobs: JobStore): Promise<Findings> {
  const stuck: string[] = [];
  const busy: string[] = [];
  for (const { consumer, lag, state } of await store.status()) {
    if (state !== 'running') stuck.push(`${consumer} is ${state}`);
    else if (lag > 0) busy.push(`${consumer} is ${lag} events behind`);
  }
  for (const { attempts, consumer, error, state, stream, type } of await letters.list()) {
    (state === 'parked' ? stuck : busy).push(`${type} of ${stream} failed ${attempts} times in ${consumer}: ${error}`);
  }
  // Counted first: a job that parks in between is then found by the list, not missed by both.
  for (const { count, name, state } of await jobs.counts()) if (state === 'waiting' || state === 'running') busy.push(`${count} ${name} ${state}`);
  for (const { attempts, id, lastError, name } of await jobs.list('parked', 10)) stuck.push(`job ${id} (${name}) failed ${attempts} times: ${lastError}`);
  return { stuck, busy };
}
