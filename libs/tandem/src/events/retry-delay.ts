const MAX_DELAY_MS = 5 * 60_000;

/** Full jitter: a random pause between 0 and the doubled base, so that what failed together does not come back together. In milliseconds. */
export function retryDelay(attempt: number, baseMs: number, random: () => number = Math.random): number {
  return Math.round(random() * Math.min(MAX_DELAY_MS, baseMs * 2 ** (attempt - 1)));
}
