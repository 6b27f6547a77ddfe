import { setImmediate as soon } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { grouped } from './grouped.js';

describe('grouped calls', () => {
  const calls: number[][] = [];
  let answer: () => void = () => undefined;
  const double = grouped(3, async (keys: readonly number[]) => {
    calls.push([...keys]);
    await new Promise<void>((resolve) => (answer = resolve));
    if (keys.includes(-1)) throw new Error('no');
    return keys.map((key) => key * 2);
  });

  it('go at once when nothing is under way, and together with those that came meanwhile', async () => {
    const first = double(1);
    await soon();
    expect(calls).toEqual([[1]]);
    const later = [double(2), double(2), double(3)];
    await soon();
    expect(calls).toEqual([[1]]);
    answer();
    expect(await first).toBe(2);
    await soon();
    expect(calls).toEqual([[1], [2, 2, 3]]);
    answer();
    expect(await Promise.all(later)).toEqual([4, 4, 6]);
  });

  it('fail together, and not those that come after', async () => {
    const failing = double(-1).catch((error: Error) => error.message);
    await soon();
    const next = double(5);
    answer();
    expect(await failing).toBe('no');
    await soon();
    answer();
    expect(await next).toBe(10);
  });
});
