import { expect, it } from 'vitest';
import { Clock } from '../kernel/clock.js';
import { ConsumerRuns } from './consumer-runs.js';
import { MemoryLog } from './memory-log.fixture.js';

const NEVER_HEALS = 1_000_000;

it('workers that keep coming in between each other’s tries narrow a failure down all the same, from one run to the next', async () => {
  const log = new MemoryLog();
  const consumer = log.consumer('halt', 1);
  const ids = Array.from({ length: 16 }, () => log.append(1).eventId);
  log.faults.set(ids[5]!, { kind: 'unnamed', times: NEVER_HEALS });
  const { store } = log.ports;
  const claim = store.claim.bind(store);
  let busy = 0;
  // After each claim somebody else has it, for longer than a run waits.
  store.claim = async (unit, request) => {
    if (busy > 0) {
      busy--;
      return undefined;
    }
    busy = 8;
    return claim(unit, request);
  };
  const clock = Object.assign(new Clock(), { sleep: () => Promise.resolve() });
  const runs = new ConsumerRuns({ ...log.ports, batch: log.batch, clock, lanes: 1, report: () => undefined, stop: new AbortController().signal });
  for (let turns = 0; turns < 60 && log.state === 'running'; turns++) await runs.catchUp(consumer);
  expect([log.applied, log.state, [...log.letters.values()].map(({ eventId, state }) => [eventId, state])]).toEqual([ids.slice(0, 5), 'halted', [[ids[5], 'parked']]]);
});

it.each([
  { parallelism: 1, comes: true },
  { parallelism: 4, comes: false },
])(
  'a consumer in $parallelism lanes that others have without a pause is waited for in line only if it runs alone, and after a quarter of a second',
  async ({ comes, parallelism }) => {
    const log = new MemoryLog();
    const consumer = log.consumer('park', parallelism);
    const { eventId } = log.append(1);
    const { store } = log.ports;
    const claim = store.claim.bind(store);
    const clock = Object.assign(new Clock(), { at: 0, now: () => clock.at, sleep: (ms: number) => Promise.resolve(void (clock.at += ms)) });
    const inLineAt: number[] = [];
    store.claim = async (unit, request) => {
      if (!request.inLine) return undefined;
      inLineAt.push(clock.at);
      return claim(unit, request);
    };
    const runs = new ConsumerRuns({ ...log.ports, batch: log.batch, clock, lanes: parallelism, report: () => undefined, stop: new AbortController().signal });
    // One look after the other, as of the reconciler.
    while (clock.at < 3_000) await runs.catchUp(consumer);
    expect(log.applied).toEqual(comes ? [eventId] : []);
    expect(inLineAt.slice(0, 1).map((at) => at >= 250 && at < 450)).toEqual(comes ? [true] : []);
  },
);

it('one worker stands in line at a time, so that holders which stand still take no more than one of its connections, and each consumer has its turn', async () => {
  const log = new MemoryLog();
  const { store } = log.ports;
  const clock = Object.assign(new Clock(), { at: 0, now: () => clock.at, sleep: (ms: number) => ((clock.at += ms), turn()) });
  const inLine = new Set<string>();
  const turns: string[] = [];
  let most = 0;
  store.claim = async (_, { consumer, inLine: waits }) => {
    if (!waits) return undefined;
    inLine.add(consumer);
    turns.push(consumer);
    most = Math.max(most, inLine.size);
    for (let i = 0; i < 20; i++) await turn(); // its holder stands still
    inLine.delete(consumer);
    return undefined;
  };
  const runs = new ConsumerRuns({ ...log.ports, batch: log.batch, clock, lanes: 1, report: () => undefined, stop: new AbortController().signal });
  const names = ['one', 'two', 'three'];
  const looks = async (name: string) => {
    while (new Set(turns).size < names.length && turns.length < 100) await runs.catchUp({ ...log.consumer('park', 1), name });
  };
  await Promise.all(names.map(looks));
  expect([most, [...new Set(turns)].toSorted()]).toEqual([1, names.toSorted()]);
});

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
