import { describe, expect, it } from 'vitest';
import { batchedVerdict, countedUpTo, cronProblem, lastSlot, nextSlot, scheduledVerdict } from './run-condition.js';

const at = (text: string): number => new Date(text).getTime();
const batched = { kind: 'batched', size: 10, maxWaitMs: 1_000 } as const;
const NOW = 5_000_000_000;

describe('a batch', () => {
  it.each([
    ['enough wait', { own: 10, any: 10, oldestMicros: NOW }, { runs: true }],
    ['the oldest has waited long enough', { own: 1, any: 1, oldestMicros: NOW - 1_000_000 }, { runs: true }],
    ['too few wait', { own: 9, any: 200, oldestMicros: NOW - 400_000 }, { runs: false, dueInMs: 600 }],
    ['nothing waits', { own: 0, any: 0, oldestMicros: undefined }, { runs: false }],
    ['too many of other types would be counted again', { own: 1, any: countedUpTo(batched), oldestMicros: NOW }, { runs: true }],
    ['only others wait: what is being committed is left', { own: 0, any: 3, oldestMicros: undefined }, { runs: true, bound: { untilMicros: NOW - 1_000_000, isSlot: false } }],
  ])('%s', (_, waiting, verdict) => {
    expect(batchedVerdict(batched, waiting, NOW)).toEqual(verdict);
  });
});

describe('a schedule', () => {
  const berlin = { cron: '30 2 * * *', timezone: 'Europe/Berlin' };

  it('has its slots at whole multiples, the moment itself included', () => {
    const hourly = { everyMs: 3_600_000 };
    expect(lastSlot(hourly, at('2026-03-01T10:00:00.000Z'))).toBe(at('2026-03-01T10:00:00.000Z'));
    expect(lastSlot(hourly, at('2026-03-01T10:59:59.999Z'))).toBe(at('2026-03-01T10:00:00.000Z'));
    expect(nextSlot(hourly, at('2026-03-01T10:00:00.000Z'))).toBe(at('2026-03-01T11:00:00.000Z'));
  });

  it('of a cron expression follows its time zone, over the change of clocks too', () => {
    expect(lastSlot(berlin, at('2026-01-05T01:30:00.000Z'))).toBe(at('2026-01-05T01:30:00.000Z'));
    expect(lastSlot(berlin, at('2026-01-05T01:29:59.999Z'))).toBe(at('2026-01-04T01:30:00.000Z'));
    expect(lastSlot(berlin, at('2026-07-05T00:30:00.000Z'))).toBe(at('2026-07-05T00:30:00.000Z'));
    // On this day 02:30 does not exist in Berlin, and in October it comes twice: still one slot a day.
    for (const day of ['2026-03-29', '2026-10-25']) {
      const slot = lastSlot(berlin, at(`${day}T12:00:00.000Z`));
      expect(new Date(slot).toISOString().slice(0, 10)).toBe(day);
      expect(scheduledVerdict(berlin, slot, at(`${day}T12:00:00.000Z`))).toMatchObject({ runs: false });
    }
  });

  it('is due when its last slot is not noted, also after it was changed, and says when it will be', () => {
    const hourly = { everyMs: 3_600_000 };
    const now = at('2026-03-01T10:30:00.000Z');
    const due = { runs: true, bound: { untilMicros: at('2026-03-01T10:00:00.000Z') * 1_000, isSlot: true } };
    expect(scheduledVerdict(hourly, undefined, now)).toEqual(due);
    expect(scheduledVerdict(hourly, at('2026-02-01T10:00:00.000Z'), now)).toEqual(due);
    expect(scheduledVerdict(hourly, at('2026-03-01T10:00:00.000Z'), now)).toEqual({ runs: false, dueInMs: 1_800_000 });
    expect(scheduledVerdict(hourly, at('2026-03-01T10:15:00.000Z'), now)).toMatchObject({ runs: false });
  });

  it.each([
    ['bad', 'UTC', /"bad" is no cron expression/],
    ['61 * * * *', 'UTC', /no cron expression/],
    [' ', 'UTC', /empty/],
    ['0 0 31 4 *', 'UTC', /no cron expression/],
    ['0 6 * * *', 'Mars/Olympus', /"Mars\/Olympus" is no time zone/],
  ])('refuses %s in %s', (cron, timezone, problem) => {
    expect(cronProblem(cron, timezone)).toMatch(problem);
  });

  it('takes a sound expression', () => {
    expect(cronProblem('0 6 * * 1-5', 'Europe/Berlin')).toBeUndefined();
  });
});
