import { describe, expect, it } from 'vitest';
import { inGrowingLanes, inLanes, SingleRuns } from './single-runs.js';

const never = new AbortController().signal;
const gate = () => {
  let open!: () => void;
  return { opened: new Promise<void>((resolve) => (open = resolve)), open };
};

describe('SingleRuns', () => {
  it('runs a name once at a time, and once more for who asked meanwhile', async () => {
    const runs = new SingleRuns();
    const first = gate();
    let count = 0;
    const work = () => (++count === 1 ? first.opened : Promise.resolve());
    const asked = [runs.run('a', work, never), runs.run('a', work, never), runs.run('a', work, never)];
    expect([count, runs.has('a'), runs.has('b')]).toEqual([1, true, false]);
    first.open();
    await Promise.all(asked);
    expect([count, runs.size]).toEqual([2, 0]);
  });

  it('does not go round again once it is stopped, and forgets a run that failed', async () => {
    const runs = new SingleRuns();
    const stop = new AbortController();
    const first = gate();
    let count = 0;
    const work = async () => {
      count++;
      await first.opened;
      throw new Error('no');
    };
    const asked = [runs.run('a', work, stop.signal), runs.run('a', work, stop.signal)].map((run) => run.catch((error: unknown) => String(error)));
    stop.abort();
    first.open();
    await runs.ended();
    expect(await Promise.all(asked)).toEqual(['Error: no', 'Error: no']);
    expect([count, runs.size]).toEqual([1, 0]);
  });
});

describe('inGrowingLanes', () => {
  it('adds a lane for each call, up to the most, and waits for all', async () => {
    const gates = [gate(), gate(), gate()];
    let lanes = 0;
    let ended = false;
    const all = inGrowingLanes(2, async (more) => {
      const { opened } = gates[lanes++]!;
      more();
      await opened;
    }).then(() => (ended = true));
    gates[0]!.open();
    await new Promise(setImmediate);
    expect([lanes, ended]).toEqual([2, false]);
    gates[1]!.open();
    await all;
  });

  it('stays at one lane while nobody asks for more, and tells its error', async () => {
    let lanes = 0;
    await expect(inGrowingLanes(4, () => Promise.reject(new Error(`of lane ${++lanes}`)))).rejects.toThrow('of lane 1');
  });
});

describe('inLanes', () => {
  it('tells the first error when every lane has ended, not before', async () => {
    const slow = gate();
    let lane = 0;
    let told: unknown;
    const all = inLanes(2, () => (++lane === 1 ? Promise.reject(new Error('first')) : slow.opened)).catch((error: unknown) => (told = error));
    await new Promise(setImmediate);
    expect(told).toBeUndefined();
    slow.open();
    await all;
    expect(String(told)).toBe('Error: first');
  });
});
