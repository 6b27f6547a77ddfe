import { describe, expect, it } from 'vitest';
import type { EventKey } from './event-log.js';
import { type BatchOutcome, FailureStreaks } from './failure-streaks.js';

const key = (id: string) => ({ eventId: `e-${id}`, stream: `order-${id}` }) as EventKey;
const failed = (...errors: [id: string, cause: unknown][]): BatchOutcome => ({
  held: errors.map(([id, cause]) => ({ event: key(id), cause })),
  handled: 0,
  tries: errors.length + 1,
});
const streakOf = (...outcomes: BatchOutcome[]): number => {
  const streaks = new FailureStreaks();
  for (const outcome of outcomes.slice(0, -1)) streaks.committed('c', outcome, 1_000);
  return streaks.after('c', outcomes.at(-1)!)?.length ?? 0;
};

describe('FailureStreaks', () => {
  it('takes errors for the same that differ in numbers and in what names their event, or have one code', () => {
    expect(streakOf(failed(['anna', new Error('no row anna, try 1')], ['bert', new Error('no row bert, try 22')]))).toBe(2);
    const full = (message: string) => Object.assign(new Error(message), { code: 'ER_DISK_FULL' });
    expect(streakOf(failed(['a', full('disk')], ['b', full('table')]))).toBe(2);
  });

  it('takes what is thrown as it is, also where it is no error', () => {
    expect(streakOf(failed(['a', undefined], ['b', undefined]))).toBe(2);
    expect(streakOf(failed(['a', null], ['b', 'text']))).toBe(1);
  });

  it('begins anew at another error, and when anything went well', () => {
    expect(streakOf(failed(['a', new Error('x')], ['b', new Error('y')]))).toBe(1);
    expect(streakOf(failed(['a', new Error('x')]), failed(['b', new Error('x')]))).toBe(2);
    expect(streakOf(failed(['a', new Error('x')]), { held: [], handled: 1, tries: 1 }, failed(['b', new Error('x')]))).toBe(1);
    expect(streakOf(failed(['a', new Error('x')]), { held: [], handled: 0, tries: 1 }, failed(['b', new Error('x')]))).toBe(2);
  });

  it('makes batches smaller after several failures, and larger again', () => {
    const streaks = new FailureStreaks();
    const sizes = (outcome: BatchOutcome, times: number) =>
      Array.from({ length: times }, () => {
        streaks.committed('c', outcome, 1_000);
        return streaks.sizeFor('c', 1_000);
      });
    expect(sizes({ held: [], handled: 5, tries: 4 }, 5)).toEqual([250, 62, 15, 8, 8]);
    expect(sizes({ held: [], handled: 5, tries: 1 }, 8)).toEqual([16, 32, 64, 128, 256, 512, 1_000, 1_000]);
    expect(streaks.sizeFor('other', 1_000)).toBe(1_000);
  });
});
