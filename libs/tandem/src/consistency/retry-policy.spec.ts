import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTandemError } from '../kernel/errors.js';
import { RetryPolicy } from './retry-policy.js';

/** The pauses of a wait in which each try itself takes `tryMs`. */
function pausesOf(policy: RetryPolicy, random: () => number, tryMs = 1): number[] {
  let elapsed = 0;
  const pauses: number[] = [];
  for (const pause of policy.delays(() => elapsed, random)) {
    pauses.push(pause);
    elapsed += pause + tryMs;
  }
  return pauses;
}

describe('RetryPolicy', () => {
  it('grows its pauses up to the longest one, and ends with the deadline', () => {
    const policy = new RetryPolicy({ initialDelayMs: 8, factor: 2, maxDelayMs: 20, deadlineMs: 61 });
    expect(pausesOf(policy, () => 1)).toEqual([8, 16, 20, 14]);
  });

  it('never pauses past the deadline, nor longer than it may', () => {
    const options = fc.record({
      initialDelayMs: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 50, noNaN: true })),
      factor: fc.double({ min: 1, max: 4, noNaN: true }),
      maxDelayMs: fc.double({ min: 0, max: 200, noNaN: true }),
      deadlineMs: fc.double({ min: 0, max: 2_000, noNaN: true }),
    });
    fc.assert(
      fc.property(options, fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), (given, randoms) => {
        const pauses = pausesOf(new RetryPolicy(given), () => randoms.next().value as number);
        const slept = pauses.reduce((sum, pause) => sum + pause, 0);
        expect(slept + Math.max(0, pauses.length - 1)).toBeLessThanOrEqual(given.deadlineMs + 1e-6);
        for (const [i, pause] of pauses.entries()) {
          expect(pause).toBeGreaterThanOrEqual(0);
          expect(pause).toBeLessThanOrEqual(Math.min(given.maxDelayMs, given.initialDelayMs * Math.min(given.factor ** i, 1e9)) * (1 + 1e-9));
        }
      }),
    );
  });

  it('asks only once when there is no time', () => {
    expect(pausesOf(new RetryPolicy({ deadlineMs: 0 }), () => 0.5)).toEqual([]);
  });

  it.each([{ deadlineMs: -1 }, { factor: 0.5 }, { maxDelayMs: Number.NaN }, { initialDelayMs: Number.POSITIVE_INFINITY }])('refuses %j', (options) => {
    expect(() => new RetryPolicy(options)).toThrow(expect.toSatisfy((error) => isTandemError(error, 'TANDEM_WIRING')));
  });
});
