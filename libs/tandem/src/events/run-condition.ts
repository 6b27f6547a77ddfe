/**
 * What a consumer that is behind waits for. *Batched*: until enough of its events wait over the whole fleet, or the oldest of them has
 * waited long enough. *Scheduled*: until the next *slot*, a moment that follows from the schedule alone, so that every process names the
 * same one; the run of a slot reads what was recorded before it. All times are the database's.
 */
import { CronExpressionParser } from 'cron-parser';

export interface BatchedRuns {
  readonly kind: 'batched';
  /** So many events of its own types. */
  readonly size: number;
  readonly maxWaitMs: number;
}

export type Schedule = { readonly everyMs: number } | { readonly cron: string; readonly timezone: string };
export type ScheduledRuns = { readonly kind: 'scheduled' } & Schedule;
export type RunCondition = BatchedRuns | ScheduledRuns;

/** How far a run reads. */
export interface RunBound {
  /** What was recorded at this time or later is left alone. Microseconds since the epoch. */
  readonly untilMicros: number;
  /** It is a slot: the run is noted when it has come to its end. */
  readonly isSlot: boolean;
}

export type Verdict = { readonly runs: true; readonly bound?: RunBound } | { readonly runs: false; readonly dueInMs?: number };

/** What lies between a consumer's checkpoints and the heads. */
export interface Waiting {
  /** Of its own types. */
  readonly own: number;
  /** Of any type. */
  readonly any: number;
  /** When the oldest of its own was recorded. */
  readonly oldestMicros: number | undefined;
}

/** Counting ends here: a run that passes so many events over costs less than to count them again and again. */
const COUNTED_AT_LEAST = 10_000;
export const countedUpTo = ({ size }: BatchedRuns): number => Math.max(size, COUNTED_AT_LEAST);

/** From the moment that an event is recorded until others see it, at most, but for a transaction that got stuck: then it is handled early. */
const IN_FLIGHT_MICROS = 1_000_000;

/** A run that finds nothing of its own: not even what is being committed while others count. */
export const passingOver = (nowMicros: number): Verdict => ({ runs: true, bound: { untilMicros: nowMicros - IN_FLIGHT_MICROS, isSlot: false } });

export function batchedVerdict(condition: BatchedRuns, { any, oldestMicros, own }: Waiting, nowMicros: number): Verdict {
  const waitsMs = oldestMicros === undefined ? 0 : (nowMicros - oldestMicros) / 1_000;
  if (own >= condition.size || any >= countedUpTo(condition)) return { runs: true };
  if (own > 0) return waitsMs >= condition.maxWaitMs ? { runs: true } : { runs: false, dueInMs: condition.maxWaitMs - waitsMs };
  // Only events of other types: passed over, lest they be counted again.
  return any > 0 ? passingOver(nowMicros) : { runs: false };
}

export function scheduledVerdict(schedule: Schedule, lastRunMs: number | undefined, nowMs: number): Verdict {
  const slot = lastSlot(schedule, nowMs);
  return lastRunMs !== undefined && lastRunMs >= slot
    ? { runs: false, dueInMs: nextSlot(schedule, nowMs) - nowMs }
    : { runs: true, bound: { untilMicros: slot * 1_000, isSlot: true } };
}

/** The last moment of the schedule that is not later than this one. Milliseconds since the epoch. */
export function lastSlot(schedule: Schedule, nowMs: number): number {
  if ('everyMs' in schedule) return Math.floor(nowMs / schedule.everyMs) * schedule.everyMs;
  const now = Math.floor(nowMs);
  let last = parsed(schedule.cron, schedule.timezone, now + 1)
    .prev()
    .getTime();
  // A time of day that the change of clocks skips is only found on the way forward.
  for (let next = nextSlot(schedule, last); next <= now; next = nextSlot(schedule, next)) last = next;
  return last;
}

/** The first moment of the schedule that is later than this one. */
export function nextSlot(schedule: Schedule, nowMs: number): number {
  if ('everyMs' in schedule) return lastSlot(schedule, nowMs) + schedule.everyMs;
  return parsed(schedule.cron, schedule.timezone, Math.floor(nowMs)).next().getTime();
}

/** Why no slot follows from it. */
export function cronProblem(cron: string, timezone: string): string | undefined {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    return `"${timezone}" is no time zone: name one as in 'Europe/Berlin'`;
  }
  if (cron.trim() === '') return 'the cron expression is empty';
  try {
    parsed(cron, timezone, 0).next();
    return undefined;
  } catch (error) {
    return `"${cron}" is no cron expression: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const parsed = (cron: string, timezone: string, fromMs: number) => CronExpressionParser.parse(cron, { currentDate: new Date(fromMs), tz: timezone });

/** For people, and to tell one schedule from another. */
export const scheduleText = (schedule: Schedule): string => ('everyMs' in schedule ? `every ${schedule.everyMs} ms` : `${schedule.cron} (${schedule.timezone})`);

export const conditionText = (condition: RunCondition): string =>
  condition.kind === 'batched' ? `batched: ${condition.size} events or ${condition.maxWaitMs} ms` : `scheduled: ${scheduleText(condition)}`;
