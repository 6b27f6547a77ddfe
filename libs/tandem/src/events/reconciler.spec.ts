import { expect, it, vi } from 'vitest';
import { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import type { ConsumerStatus, ConsumerStore } from './consumer-store.js';
import type { DeadLetterStore } from './dead-letter-store.js';
import { DueRuns } from './due-runs.js';
import type { EventLog } from './event-log.js';
import { Reconciler } from './reconciler.js';

const nameOf = (number: number): string => `spec.view-${number}`;

/** Looks until it has slept `sleeps` times. Answers how long it slept, and what it did. */
async function looks({ consumers, lag, sleeps }: { readonly consumers: number; readonly lag: number; readonly sleeps: number }) {
  const stop = new AbortController();
  const pauses: number[] = [];
  const clock = new Clock();
  vi.spyOn(clock, 'sleep').mockImplementation((ms) => {
    pauses.push(ms);
    if (pauses.length > sleeps) stop.abort();
    return Promise.resolve();
  });
  const names = Array.from({ length: consumers }, (_, number) => nameOf(number));
  const status = vi.fn(() => Promise.resolve(names.map((consumer) => ({ consumer, state: 'running', lag }) as ConsumerStatus)));
  const dueConsumers = vi.fn(() => Promise.resolve([]));
  const catchUp = vi.fn(() => Promise.resolve());
  const registry = new ConsumerRegistry();
  registry.add(names.map((name) => ({ name, events: [] as Consumer['events'] }) as Consumer));
  const store = { status } as unknown as ConsumerStore;
  const ports = { store, dueRuns: new DueRuns({ store, log: {} as EventLog }), letters: { dueConsumers } as unknown as DeadLetterStore, registry, clock, catchUp, retry: catchUp };
  await new Reconciler({ ...ports, reconcileEveryMs: 1_000 }).runUntil(stop.signal);
  return { pauses, asked: [status.mock.calls.length, dueConsumers.mock.calls.length], ran: catchUp.mock.calls.length };
}

it('a look asks the database as much for 200 consumers as for one, and more rarely while there is nothing to do', async () => {
  const one = await looks({ consumers: 1, lag: 0, sleeps: 7 });
  expect(one).toEqual({ pauses: [0, 1_000, 1_500, 2_250, 3_375, 5_000, 5_000, 5_000], asked: [7, 7], ran: 0 });
  expect(await looks({ consumers: 200, lag: 0, sleeps: 7 })).toEqual(one);
});

it('a look runs every consumer that lags, and comes again at once its pause is over', async () => {
  expect(await looks({ consumers: 20, lag: 1, sleeps: 2 })).toEqual({ pauses: [0, 1_000, 1_000], asked: [2, 2], ran: 40 });
});
