import type { INestApplicationContext } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { ConsumerRuntime } from '../events/consumer-runtime.js';
import { ConsumerStore } from '../events/consumer-store.js';
import { DeadLetterStore } from '../events/dead-letter-store.js';
import { EventLog } from '../events/event-log.js';
import { ForcedRuns } from '../events/forced-runs.js';
import { JobStore } from '../jobs/job-store.js';
import { Clock } from '../kernel/clock.js';
import { TandemError } from '../kernel/errors.js';
import type { TandemCommandBus } from '../write/command/command-bus.js';

export interface TandemTester {
  /**
   * Resolves when every consequence of what was sent is worked off, also by projections that would wait for more or for their schedule: the commands of this process answered, projections and sagas
   * at the head of the log, no job waiting or running, no event waiting for its next try.
   * @throws TANDEM_NOT_IDLE naming what is stuck: at once for what is parked or halted, after `timeoutMs` (default 10,000) for the rest.
   */
  idle(options?: { readonly timeoutMs?: number }): Promise<void>;
}

interface Findings {
  /** Will not move by itself. */
  readonly stuck: readonly string[];
  readonly busy: readonly string[];
  /** Grows with every event and every job: two looks with equal ones have missed nothing between them. */
  readonly done: string;
}

type Get = <T>(token: abstract new (...args: never[]) => T) => T;

const POLL_MS = 10;

/** What a test asks of a running Tandem application or testing module. */
export function tandem(application: INestApplicationContext): TandemTester {
  const get: Get = (token) => application.get(token as never, { strict: false });
  return {
    async idle({ timeoutMs = 10_000 } = {}) {
      const clock = get(Clock);
      const deadline = clock.now() + timeoutMs;
      let before: string | undefined;
      for (;;) {
        const { busy, done, stuck } = await look(get);
        if (stuck.length > 0) throw new TandemError('TANDEM_NOT_IDLE', `Stuck: ${stuck.join('; ')}`, { data: { stuck } });
        if (busy.length === 0 && done === before) return;
        before = busy.length === 0 ? done : undefined;
        if (clock.now() > deadline) throw stillBusy(timeoutMs, busy);
        if (before !== undefined) continue;
        await catchUp(get, deadline - clock.now());
        await clock.sleep(POLL_MS);
      }
    },
  };
}

/** Each part is read by itself: what moves from one to the other meanwhile (a job that publishes an event and ends) is in neither. */
async function look(get: Get): Promise<Findings> {
  const stuck: string[] = [];
  const busy: string[] = [];
  const registry = get(ConsumerRegistry);
  const isRetired = (name: string): boolean => registry.isRetired(name);
  const { running } = get(CommandBus) as TandemCommandBus;
  if (running > 0) busy.push(running === 1 ? '1 command is running' : `${running} commands are running`);
  const { heads } = await get(EventLog).heads();
  for (const { consumer, lag, state } of await get(ConsumerStore).status()) {
    if (isRetired(consumer)) continue; // nobody reads for it any more
    if (state !== 'running') stuck.push(`${consumer} is ${state}`);
    else if (lag > 0) busy.push(`${consumer} is ${lag} events behind`);
  }
  for (const { attempts, consumer, error, state, stream, type } of await get(DeadLetterStore).list()) {
    if (isRetired(consumer)) continue;
    (state === 'parked' ? stuck : busy).push(`${type} of ${stream} failed ${attempts} times in ${consumer}: ${error}`);
  }
  // Counted first: a job that parks in between is then found by the list, not missed by both.
  const jobs = await get(JobStore).counts();
  for (const { count, name, state } of jobs) if (state === 'waiting' || state === 'held' || state === 'running') busy.push(`${count} ${name} ${state}`);
  for (const { attempts, id, lastError, name } of await get(JobStore).list('parked', 10)) stuck.push(`job ${id} (${name}) failed ${attempts} times: ${lastError}`);
  return { stuck, busy, done: JSON.stringify([[...heads.values()].reduce((sum, head) => sum + head, 0), jobs]) };
}

/** What is still running after that long is looked at again, and named when the time is up. */
async function catchUp(get: Get, atMostMs: number): Promise<void> {
  const runtime = get(ConsumerRuntime);
  const { consumers } = get(ConsumerRegistry);
  if (!runtime.isWorking) return get(ForcedRuns).ask(consumers.filter(({ waitsFor }) => waitsFor));
  const done = new AbortController();
  const all = Promise.all(consumers.map((consumer) => runtime.catchUp(consumer)));
  await Promise.race([all, get(Clock).sleep(Math.max(atMostMs, 0), done.signal)]).finally(() => done.abort());
}

const stillBusy = (timeoutMs: number, busy: readonly string[]): TandemError =>
  new TandemError('TANDEM_NOT_IDLE', `Still busy after ${timeoutMs} ms: ${busy.join('; ') || 'something new came between any two looks'}`, { data: { stuck: busy } });
