import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Consumer } from './consumer.js';
import { Counted, Deadlock, MemoryLog } from './memory-log.fixture.js';

const NEVER_HEALS = Number.POSITIVE_INFINITY;

const history = fc.record({
  /** Stream of each event; some are of a type that the consumer does not handle. */
  events: fc.array(fc.record({ stream: fc.nat(9), handled: fc.integer({ min: 0, max: 4 }).map((n) => n > 0) }), { minLength: 40, maxLength: 90, size: 'max' }),
  faults: fc.array(fc.record({ at: fc.nat(89), kind: fc.constantFrom('named' as const, 'unnamed' as const), times: fc.constantFrom(1, 2, NEVER_HEALS) }), {
    minLength: 2,
    maxLength: 8,
    size: 'max',
  }),
  deadlocks: fc.array(fc.nat(300), { maxLength: 6 }),
});
type History = typeof history extends fc.Arbitrary<infer T> ? T : never;

function logOf({ events, faults, deadlocks }: History): MemoryLog {
  const log = new MemoryLog();
  const ids = events.map(({ stream, handled }) => log.append(stream, handled ? 'memory.counted' : 'memory.other').eventId);
  for (const { at, kind, times } of faults) log.faults.set(ids[at % ids.length]!, { kind, times });
  for (const call of deadlocks) log.deadlocks.add(call);
  return log;
}

/** Batches, and retries of what is held, until nothing moves any more. */
async function work(log: MemoryLog, consumer: Consumer, limit?: number): Promise<void> {
  for (let turns = 0; turns < 5_000; turns++) {
    try {
      const before = log.transactions;
      if (log.lag > 0 && log.state === 'running') await log.runBatch(consumer, limit);
      for (const letter of [...log.letters.values()]) if (letter.state === 'retrying') await log.retry.run(consumer, letter);
      if (log.transactions === before) return;
    } catch (error) {
      if (!(error instanceof Deadlock)) throw error;
    }
  }
  throw new Error('it goes on for ever');
}

const handled = (log: MemoryLog) => log.shards.flat().filter(({ type }) => type === 'memory.counted');
const poisoned = (log: MemoryLog) => handled(log).filter(({ eventId }) => log.faults.get(eventId)?.times === NEVER_HEALS);

/** Every row is the fold, in order, of its stream's events before the first poisoned one; exactly the poisoned streams are held, at that event. */
function expectFolded(log: MemoryLog): void {
  const first = new Map(
    poisoned(log)
      .toReversed()
      .map((event) => [event.stream, event]),
  );
  const expected = new Map<string, number[]>();
  for (const { stream, version } of handled(log)) if (version < (first.get(stream)?.version ?? Infinity)) expected.set(stream, [...(expected.get(stream) ?? []), version]);
  expect(new Map([...log.rows].filter(([, versions]) => versions.length > 0))).toEqual(expected);
  expect([...log.letters.values()].map(({ eventId, state }) => [eventId, state]).sort()).toEqual([...first.values()].map(({ eventId }) => [eventId, 'parked']).sort());
  expect(log.lag).toBe(0);
}

describe('ConsumerBatch with onError park', () => {
  it('one worker folds every stream up to its poison, in order and once', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (given) => {
        const log = logOf(given);
        await work(log, log.consumer('park', 1));
        expectFolded(log);
      }),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it('two workers with claims of their own do the same, however their steps interleave', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.scheduler(), async (given, scheduler) => {
        const log = logOf(given);
        log.scheduler = scheduler;
        const consumer = log.consumer('park', 2);
        await scheduler.waitFor(Promise.all([work(log, consumer, 2), work(log, consumer, 2)]));
        // A worker that found everything locked has left; what it left behind is worked off here.
        log.scheduler = undefined;
        await work(log, consumer, 2);
        expectFolded(log);
      }),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it('holds no stream at an event that the batch does not reach', async () => {
    const log = new MemoryLog();
    const ids = Array.from({ length: 16 }, (_, index) => log.append(index % 2).eventId);
    log.faults.set(ids[14]!, { kind: 'named', times: NEVER_HEALS });
    log.faults.set(ids[15]!, { kind: 'unnamed', times: 1 });
    await log.runBatch(log.consumer('park', 1));
    expect([...log.letters.values()]).toEqual([]);
    await work(log, log.consumer('park', 1));
    expectFolded(log);
  });
});

describe('ConsumerBatch after several failures', () => {
  const failing = (everyOther: boolean) => {
    const log = new MemoryLog();
    for (let stream = 0; stream < 60; stream++) {
      const { eventId } = log.append(stream);
      if (!everyOther || stream % 8 < 4) log.faults.set(eventId, { kind: 'named', times: NEVER_HEALS });
    }
    return log;
  };

  it('commits what it has done before it meets the next', async () => {
    const log = failing(false);
    await log.runBatch(log.consumer('park', 1));
    expect([log.letters.size, log.transactions, 60 - log.lag]).toEqual([3, 4, 3]);
  });

  it('pauses the consumer when the same error came on many streams running, and the rest waits', async () => {
    const log = failing(false);
    for (let batches = 0; batches < 6; batches++) await log.runBatch(log.consumer('park', 1));
    expect([log.state, log.letters.size, 60 - log.lag]).toEqual(['paused', 12, 12]);

    log.faults.clear();
    log.state = 'running';
    for (const [key, letter] of log.letters) log.letters.set(key, { ...letter, state: 'retrying', due: true });
    await work(log, log.consumer('park', 1));
    expect([log.letters.size, log.lag, log.rows.size]).toEqual([0, 0, 60]);
  });

  it('does not pause it while other streams go well, nor one that halts at one event', async () => {
    const log = failing(true);
    await work(log, log.consumer('park', 1));
    expect([log.state, log.lag]).toEqual(['running', 0]);

    const halting = new MemoryLog();
    halting.faults.set(halting.append(1).eventId, { kind: 'named', times: NEVER_HEALS });
    Object.assign(halting.ports.settings, { consumerAttempts: 30 });
    await work(halting, halting.consumer('halt', 1));
    expect(halting.state).toBe('halted');
  });
});

describe('ConsumerBatch between two tries', () => {
  it('handles what follows a failed event that another worker has held and let go on meanwhile', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('park', 2);
    const first = log.append(1);
    log.faults.set(first.eventId, { kind: 'named', times: 2 });
    let tries = 0;
    await log.batch.run({
      consumer,
      claim: (unit) => log.ports.store.claim(unit, { consumer: consumer.name, exclusive: false, wait: false }),
      heads: (unit) => log.ports.log.heads(unit),
      attempt: async (work) => {
        if (++tries === 2) {
          await log.runBatch(consumer);
          await log.retry.run(consumer, [...log.letters.values()][0]!);
          log.append(1);
        }
        return log.ports.units.run(work, { kind: 'consumer' });
      },
    });
    expect(log.rows.get('memory-1')).toEqual([1, 2]);
  });
});

describe('ConsumerBatch whose claim is taken by somebody else between two tries', () => {
  it('goes on from what it has learnt, so that a failure which names no event is narrowed down all the same', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('park', 2);
    const ids = Array.from({ length: 16 }, (_, stream) => log.append(stream).eventId);
    log.faults.set(ids[5]!, { kind: 'unnamed', times: NEVER_HEALS });
    const interrupted = {};
    let claims = 0;
    for (let turns = 0; turns < 40 && log.lag > 0; turns++) {
      await log.batch.run({
        consumer,
        interrupted,
        claim: async (unit) => (++claims % 2 === 0 ? undefined : log.ports.store.claim(unit, { consumer: consumer.name, exclusive: false, wait: false })),
        heads: (unit) => log.ports.log.heads(unit),
        attempt: (work) => log.ports.units.run(work, { kind: 'consumer' }),
      });
    }
    expect([log.lag, log.rows.size, [...log.letters.values()].map(({ eventId }) => eventId)]).toEqual([0, 15, [ids[5]]]);
  });
});

/** A worker whose second claim is busy: it comes again with what it has learnt. */
function interruptedWorker(log: MemoryLog, consumer: Consumer) {
  const interrupted = {};
  let claims = 0;
  return () =>
    log.batch.run({
      consumer,
      interrupted,
      claim: async (unit) => (++claims === 2 ? undefined : log.ports.store.claim(unit, { consumer: consumer.name, exclusive: true, wait: false })),
      heads: (unit) => log.ports.log.heads(unit),
      attempt: (work) => log.ports.units.run(work, { kind: 'consumer' }),
    });
}

async function interruptedAtItsFirst() {
  const log = new MemoryLog();
  const consumer = log.consumer('park', 1);
  const { eventId } = log.append(1);
  log.faults.set(eventId, { kind: 'named', times: 1 });
  const here = interruptedWorker(log, consumer);
  expect(await here()).toBeUndefined();
  return { eventId, here, log };
}

describe('ConsumerBatch that was interrupted behind a failure', () => {
  it('leaves a stream alone that another worker has held at an earlier event', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('park', 1);
    const [first, second] = [log.append(1), log.append(1)];
    const here = interruptedWorker(log, consumer);
    log.faults.set(second.eventId, { kind: 'named', times: 1 });
    expect(await here()).toBeUndefined();
    log.faults.set(first.eventId, { kind: 'named', times: 1 });
    Object.assign(log.ports.settings, { batchSize: 1 });
    await log.runBatch(consumer);
    Object.assign(log.ports.settings, { batchSize: 16 });
    await here();
    expect([...log.letters.values()].map(({ eventId }) => eventId)).toEqual([first.eventId]);
    await log.retry.run(consumer, [...log.letters.values()][0]!);
    expect(log.rows.get('memory-1')).toEqual([1, 2]);
  });

  it('leaves an event discarded that an operator has discarded meanwhile', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('halt', 1);
    const { eventId } = log.append(1);
    log.append(1);
    log.faults.set(eventId, { kind: 'named', times: NEVER_HEALS });
    await log.runBatch(consumer);
    const here = interruptedWorker(log, consumer);
    expect(await here()).toBeUndefined();
    for (const [key, letter] of log.letters) log.letters.set(key, { ...letter, state: 'discarded', due: true });
    await here();
    expect([log.rows.get('memory-1'), log.letters.size, log.state]).toEqual([[2], 0, 'running']);
  });

  it('tries an event that another log has in the place of the one that failed', async () => {
    const { here, log } = await interruptedAtItsFirst();
    log.shards[1]![0] = { ...log.shards[1]![0]!, eventId: 'another' };
    await here();
    expect([log.applied, log.letters.size]).toEqual([['another'], 0]);
  });

  it('forgets it when its next try ends with an error that is nobody’s fault', async () => {
    const { eventId, here, log } = await interruptedAtItsFirst();
    const { heads } = log.ports.log;
    log.ports.log.heads = () => Promise.reject(new Deadlock());
    await expect(here()).rejects.toThrow(Deadlock);
    log.ports.log.heads = heads;
    await here();
    expect([log.applied, log.letters.size]).toEqual([[eventId], 0]);
  });
});

describe('ConsumerBatch with onError halt', () => {
  it('keeps the letter of an event that fails behind the one of its stream that now goes well', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('halt', 1);
    const [first, second] = [log.append(1), log.append(1)];
    log.faults.set(first.eventId, { kind: 'named', times: 1 });
    await log.runBatch(consumer);
    log.faults.set(second.eventId, { kind: 'named', times: 1 });
    await log.runBatch(consumer);
    expect([...log.letters.values()].map(({ attempts, eventId }) => [eventId, attempts])).toEqual([[second.eventId, 1]]);
    await log.runBatch(consumer);
    expect([log.rows.get('memory-1'), log.letters.size]).toEqual([[1, 2], 0]);
  });

  it('whose claim is taken by somebody else after a failure does not count that one again when they have counted theirs', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('halt', 1);
    const { eventId } = log.append(1);
    log.faults.set(eventId, { kind: 'named', times: 2 }); // once here, and once there
    const here = interruptedWorker(log, consumer);
    expect(await here()).toBeUndefined();
    await log.runBatch(consumer);
    expect([...log.letters.values()].map(({ attempts }) => attempts)).toEqual([1]);
    await here();
    expect([log.applied, log.letters.size]).toEqual([[eventId], 0]);
  });

  const inOrder = (log: MemoryLog) =>
    handled(log)
      .toSorted((a, b) => a.recordedAtMicros - b.recordedAtMicros)
      .map(({ eventId }) => eventId);

  it('applies everything before the first poison and nothing behind it, then halts; mended and retried, it applies the rest', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (given) => {
        const log = logOf(given);
        const consumer = log.consumer('halt', 1);
        await work(log, consumer);
        const bad = new Set(poisoned(log).map(({ eventId }) => eventId));
        const first = inOrder(log).findIndex((id) => bad.has(id));
        expect(log.applied).toEqual(first === -1 ? inOrder(log) : inOrder(log).slice(0, first));
        expect(log.state).toBe(first === -1 ? 'running' : 'halted');
        expect([...log.letters.values()].map(({ eventId, state }) => [eventId, state])).toEqual(first === -1 ? [] : [[inOrder(log)[first], 'parked']]);

        log.faults.clear();
        log.state = 'running';
        for (const [key, letter] of log.letters) log.letters.set(key, { ...letter, state: 'retrying', due: true, attempts: 0 });
        await work(log, consumer);
        expect(log.applied).toEqual(inOrder(log));
        expect(log.letters.size).toBe(0);
      }),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it('keeps streams held that an older version of the code has passed by, and retries them', async () => {
    const log = new MemoryLog();
    const poison = log.append(1);
    log.append(2);
    log.faults.set(poison.eventId, { kind: 'named', times: NEVER_HEALS });
    await log.runBatch(log.consumer('park', 1));
    expect(log.letters.size).toBe(1);

    log.append(1);
    log.append(2);
    await log.runBatch(log.consumer('halt', 1));
    expect(log.rows.get('memory-1') ?? []).toEqual([]);
    log.faults.clear();
    await work(log, log.consumer('halt', 1));
    expect(log.rows).toEqual(
      new Map([
        ['memory-1', [1, 2]],
        ['memory-2', [1, 2]],
      ]),
    );
    expect(log.letters.size).toBe(0);
  });
});

describe('StreamRetry', () => {
  const held = async () => {
    const log = new MemoryLog();
    log.faults.set(log.append(1).eventId, { kind: 'named', times: NEVER_HEALS });
    const consumer = log.consumer('park', 1);
    await log.runBatch(consumer);
    return { log, consumer, letter: [...log.letters.values()][0]! };
  };

  it('leaves a letter that another worker has just retried to its new time', async () => {
    const { consumer, letter, log } = await held();
    await log.retry.run(consumer, letter);
    const [once] = [...log.letters.values()];
    log.letters.set(`\n${letter.stream}`, { ...once!, due: false });
    await log.retry.run(consumer, letter);
    expect([...log.letters.values()].map(({ attempts }) => attempts)).toEqual([2]);
  });

  it('does not release a letter that the checkpoint has not reached', async () => {
    const { consumer, letter, log } = await held();
    log.checkpoints.set(letter.shard, 0);
    expect(await log.retry.run(consumer, letter)).toMatchObject({ handled: 0 });
    expect(log.letters.size).toBe(1);
  });
});

it('an event of newer code stops the batch and says why, and changes nothing', async () => {
  const log = new MemoryLog();
  log.append(1);
  const consumer = { ...log.consumer('park', 1), events: [Counted] };
  Object.assign(log.shards[1]![0]!, { schemaVersion: 2 });
  expect(await log.runBatch(consumer)).toMatchObject({ handled: 0, more: false, stopped: expect.stringContaining('version 2') });
  expect(log.lag).toBe(1);
});
