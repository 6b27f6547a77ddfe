/** What is due follows from the database's clock, whatever the clock of the process says. */
import { describe, expect, it } from 'vitest';
import type { Consumer } from './consumer.js';
import type { ConsumerStatus, ConsumerStore } from './consumer-store.js';
import { DueRuns } from './due-runs.js';
import type { EventLog } from './event-log.js';
import type { RunCondition } from './run-condition.js';

/** Long ago by any clock of a process. */
const NOW = Date.UTC(2001, 1, 3, 12, 0, 0, 500);
const SLOT = Date.UTC(2001, 1, 3, 12);
const NAME = 'spec.view';

const consumer = (waitsFor: RunCondition): Consumer => ({ name: NAME, events: [], waitsFor }) as unknown as Consumer;
const status = (own: Partial<ConsumerStatus>): ConsumerStatus => ({ consumer: NAME, lag: 3, laggingShards: [1], lastRunAt: null, readAt: new Date(NOW), ...own }) as ConsumerStatus;
const dueRuns = (statuses: readonly ConsumerStatus[], oldestMs = NOW): DueRuns =>
  new DueRuns({
    store: { status: () => Promise.resolve(statuses), positions: () => Promise.resolve(new Map([[NAME, new Map()]])) } as unknown as ConsumerStore,
    log: { count: () => Promise.resolve({ nowMicros: NOW * 1_000, waiting: [{ own: 3, any: 3, oldestMicros: oldestMs * 1_000 }] }) } as unknown as EventLog,
  });

describe.each([
  ['woken', async (runs: DueRuns, one: Consumer) => runs.verdictOn(one)],
  ['looked at', async (runs: DueRuns, one: Consumer, statuses: readonly ConsumerStatus[]) => (await runs.verdicts([one], statuses)).get(NAME)],
] as const)('a consumer that is %s', (_, verdict) => {
  const everySecond = consumer({ kind: 'scheduled', everyMs: 1_000 });
  const batched = consumer({ kind: 'batched', size: 10, maxWaitMs: 2_000 });

  it('runs at the last slot of its schedule, up to that moment', async () => {
    const statuses = [status({ lastRunAt: new Date(SLOT - 1_000) })];
    expect(await verdict(dueRuns(statuses), everySecond, statuses)).toEqual({ runs: true, bound: { untilMicros: SLOT * 1_000, isSlot: true } });
  });

  it('has run in this slot, and knows how long it is to the next', async () => {
    const statuses = [status({ lastRunAt: new Date(SLOT) })];
    expect(await verdict(dueRuns(statuses), everySecond, statuses)).toEqual({ runs: false, dueInMs: 500 });
  });

  it('runs when the oldest event of its batch has waited long enough', async () => {
    const statuses = [status({})];
    expect(await verdict(dueRuns(statuses, NOW - 500), batched, statuses)).toEqual({ runs: false, dueInMs: 1_500 });
    expect(await verdict(dueRuns(statuses, NOW - 2_000), batched, statuses)).toEqual({ runs: true });
  });
});
