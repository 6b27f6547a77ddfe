import { InvalidValueError } from '../shop-error.js';

const INSTANT = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;
const FIRST_YEAR = 1900;
const LAST_YEAR = 2999;

/**
 * An ISO 8601 date-time with its offset, as UTC with milliseconds: `2010-12-01T08:26:00.000Z`.
 * @throws SHOP_INVALID, also for a day that the month does not have
 */
export function parseInstant(value: unknown, field: string): string {
  const match = typeof value === 'string' ? INSTANT.exec(value) : null;
  const time = match ? Date.parse(match[0]) : Number.NaN;
  if (!match || Number.isNaN(time) || !isCalendarDay(Number(match[1]), Number(match[2]), Number(match[3]))) {
    throw new InvalidValueError(field, 'must be an ISO 8601 date-time with its offset, like 2010-12-01T08:26:00Z');
  }
  const instant = new Date(time);
  if (instant.getUTCFullYear() < FIRST_YEAR || instant.getUTCFullYear() > LAST_YEAR) throw new InvalidValueError(field, `must be in the years ${FIRST_YEAR} to ${LAST_YEAR}`);
  return instant.toISOString();
}

/** JavaScript reads the 30th of February as a day in March. */
export function isCalendarDay(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
