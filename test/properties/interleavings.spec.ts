/**
 * However writers, workers, an operator, kills, lost connections, deadlocks and failing handlers interleave, the consumer engine
 * keeps its promises: no event is skipped, each stream goes in order, each effect is there once, and poison holds back its own
 * stream only. Each rule of the storage that the engine rests on is then broken once, and the same property must find it.
 */
import { Logger } from '@nestjs/common';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoredEvent } from '../../libs/tandem/src/events/event-log.js';
import type { Fate } from './simulated-database.js';
import { sessionOf } from './simulated-storage.js';
import { type History, type Life, type Mutant, World } from './simulated-world.js';

const STREAMS = 6;
const fate: fc.Arbitrary<Fate> = fc.constantFrom('killed', 'cut off', 'answer lost', 'deadlock');
const transaction = fc.record({ streams: fc.array(fc.nat(STREAMS - 1), { minLength: 1, maxLength: 3 }), commits: fc.integer({ min: 0, max: 5 }).map((n) => n > 0) });
const fault = fc.record({
  stream: fc.nat(STREAMS - 1),
  version: fc.integer({ min: 1, max: 5 }),
  kind: fc.constantFrom('named' as const, 'unnamed' as const),
  times: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
});

/** How much is written, and how much befalls a process. */
function historyOf({ least, fates }: { readonly least: number; readonly fates: number }): fc.Arbitrary<History> {
  const life: fc.Arbitrary<Life> = fc.array(fc.tuple(fc.nat(150), fate), { maxLength: fates }).map((each) => new Map(each));
  const lives = fc.array(life, { maxLength: 3 });
  return fc.record({
    writers: fc.array(fc.record({ transactions: fc.array(transaction, { minLength: 2 * least, maxLength: 6 }), lives }), { minLength: least, maxLength: 3 }),
    workers: fc.array(fc.record({ lives }), { minLength: 1, maxLength: 3 }),
    faults: fc.array(fault, { maxLength: 4 }),
    pauses: fc.array(fc.record({ after: fc.nat(100), length: fc.nat(100) }), { maxLength: 1 }),
  });
}
const anyHistory = historyOf({ least: 1, fates: 5 });
/** Where a mutant takes a coincidence to do harm. */
const busyHistory = historyOf({ least: 3, fates: 0 });

const kinds = {
  'that runs alone': { parallelism: 1, onError: 'park', runBy: 'worker' },
  'that runs in several lanes': { parallelism: 4, onError: 'park', runBy: 'worker' },
  'that halts at poison': { parallelism: 1, onError: 'halt', runBy: 'worker' },
  'that commands fold': { parallelism: 64, onError: 'park', runBy: 'command' },
} as const;
type Kind = (typeof kinds)[keyof typeof kinds];

const idsOf = (events: readonly StoredEvent[], stream: string): string[] => events.filter((event) => event.stream === stream).map(({ version }) => `${stream} ${version}`);

/** Stream → its events that the consumer must have handled by now. */
function dueOf(world: World, stream: string): string[] {
  const events = world.log.filter((event) => event.stream === stream);
  const poison = events.findIndex(world.isPoisoned);
  return idsOf(poison === -1 ? events : events.slice(0, poison), stream);
}

/** Skipped, doubled, out of order: whatever differs from each stream's events, once and in order, before its first poison. */
function expectEffects(world: World, halted: boolean): void {
  for (const stream of new Set(world.log.map((event) => event.stream))) {
    const due = dueOf(world, stream);
    const done = idsOf(world.effects, stream);
    expect(done).toEqual(halted ? due.slice(0, done.length) : due);
  }
}

function expectLetters(world: World, { onError }: Kind): void {
  const poisoned = world.log.filter(world.isPoisoned);
  const first = poisoned.filter(({ stream, version }) => !poisoned.some((other) => other.stream === stream && other.version < version));
  const held = world.letters.map(({ eventId, state }) => `${eventId} ${state}`);
  if (onError === 'park') expect(held.toSorted()).toEqual(first.map(({ eventId }) => `${eventId} parked`).toSorted());
  else expectHalt(world, first);
}

/** It stands at one event. Another may have failed before it, when what was recorded earlier was not yet committed: that one is still ahead. */
function expectHalt(world: World, poisoned: readonly StoredEvent[]): void {
  if (poisoned.length === 0) return expect([world.state, world.letters]).toEqual(['running', []]);
  const parked = world.letters.filter(({ state }) => state === 'parked').map(({ eventId }) => eventId);
  expect([world.state, parked.length]).toEqual(['halted', 1]);
  expect(poisoned.map(({ eventId }) => eventId)).toEqual(expect.arrayContaining(parked));
  const done = new Set(world.effects.map(({ eventId }) => eventId));
  expect(world.letters.filter(({ eventId }) => done.has(eventId))).toEqual([]);
}

/** What a writer did first comes first, in all streams that nothing held back. */
function expectCausesFirst(world: World, faulty: ReadonlySet<string>): void {
  const turns = new Map<number, number>();
  for (const { payload, stream } of world.effects) {
    const { turn, writer } = JSON.parse(payload) as { turn: number; writer: number };
    if (faulty.has(stream)) continue;
    expect(turn).toBeGreaterThanOrEqual(turns.get(writer) ?? 0);
    turns.set(writer, turn);
  }
}

const promises = (kind: Kind, mutant?: Mutant, history = anyHistory) =>
  fc.asyncProperty(history, fc.scheduler(), async (given, scheduler) => {
    // A command whose own event fails is refused, so there is nothing to be held.
    const world = new World(kind.runBy === 'command' ? { ...given, faults: [] } : given, kind, scheduler, mutant);
    await scheduler.waitFor(world.play());
    expectEffects(world, world.state === 'halted');
    expectLetters(world, kind);
    if (kind.parallelism === 1 && kind.onError === 'park') expectCausesFirst(world, new Set(given.faults.map(({ stream }) => `stream-${stream}`)));
    await scheduler.waitFor(world.mend());
    expectEffects(world, false);
    expect([world.state, world.letters]).toEqual(['running', []]);
  });

/** Without the schedule, which has thousands of lines: seed and path repeat it. */
function expectHeld({ counterexample, errorInstance, failed, counterexamplePath, seed }: fc.RunDetails<[History, fc.Scheduler]>): void {
  const shown = (_key: string, value: unknown): unknown => (value instanceof Map ? [...(value as Life)] : value === Infinity ? 'for ever' : value);
  if (failed) throw new Error(`seed ${seed}, path ${counterexamplePath}: ${JSON.stringify(counterexample?.[0], shown)}`, { cause: errorInstance });
}

beforeAll(() => Logger.overrideLogger(false));
afterAll(() => Logger.overrideLogger(['log', 'warn', 'error']));

describe('the consumer engine, however things interleave', () => {
  it.each(Object.entries(kinds))('a consumer %s handles each event once and in order, but for poison', async (_name, kind) => {
    expectHeld(await fc.check(promises(kind), { numRuns: Number(process.env.TANDEM_INTERLEAVINGS ?? 100), endOnFailure: true }));
  });
});

/** Nothing is undone by a rollback, and others see it at once. */
const outside = (unit: Parameters<typeof sessionOf>[0], keys: readonly string[], committed: Map<string, unknown>): void =>
  keys.forEach((key) => committed.set(key, sessionOf(unit).get(key)));

const mutants: Record<string, { readonly kind: keyof typeof kinds; readonly history?: fc.Arbitrary<History>; readonly breaks: Mutant }> = {
  'writes the checkpoint outside of the transaction': {
    kind: 'that runs alone',
    breaks: ({ store }, { committed }) => {
      const advance = store.advance.bind(store);
      store.advance = async (unit, claim, checkpoints) => {
        await advance(unit, claim, checkpoints);
        outside(
          unit,
          checkpoints.map(({ shard }) => `checkpoint counted ${shard}`),
          committed,
        );
      };
    },
  },
  'writes rows outside of the transaction': {
    kind: 'that runs alone',
    breaks: (ports, { effects }) => {
      ports.effect = (_session, consumer, event) => effects.push({ consumer, event });
    },
  },
  'claims without a lock': {
    kind: 'that runs in several lanes',
    breaks: ({ store }) => {
      const claim = store.claim.bind(store);
      store.claim = async (unit, request) => {
        const session = sessionOf(unit);
        const { lock, tryLock } = session;
        Object.assign(session, { tryLock: () => true, lock: () => Promise.resolve() });
        const claimed = await claim(unit, request);
        Object.assign(session, { lock, tryLock });
        return claimed;
      };
    },
  },
  'does not queue the later events of a held stream': {
    kind: 'that runs in several lanes',
    history: busyHistory,
    breaks: ({ letters }) => {
      const held = letters.held.bind(letters);
      // A retry asks for one shard; a batch, for those of its claim, which then seem to have none.
      letters.held = async (unit, consumer, generation, shards) => (shards.length === 1 ? held(unit, consumer, generation, shards) : []);
    },
  },
  'reads what was recorded after the heads were read': {
    kind: 'that runs alone',
    history: busyHistory,
    breaks: ({ store }) => {
      const claim = store.claim.bind(store);
      store.claim = async (unit, request) => {
        const claimed = await claim(unit, request);
        return claimed?.heads ? { ...claimed, heads: { ...claimed.heads, cutMicros: Number.MAX_SAFE_INTEGER } } : claimed;
      };
    },
  },
};

describe('the same property finds a storage that', () => {
  it.each(Object.entries(mutants))('%s', async (_name, { breaks, history, kind }) => {
    // A seed of their own: some take a coincidence, and a run should not take longer than another.
    const result = await fc.check(promises(kinds[kind], breaks, history), { numRuns: 1_000, endOnFailure: true, seed: 3 });
    expect(result.failed).toBe(true);
  });
});
