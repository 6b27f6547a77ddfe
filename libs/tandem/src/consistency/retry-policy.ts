import { TandemError } from '../kernel/errors.js';

export interface RetryPolicyOptions {
  /** Longest first pause in milliseconds. Default 5. */
  readonly initialDelayMs?: number;
  /** What each pause's limit grows by. Default 1.5. */
  readonly factor?: number;
  /** No pause is longer, in milliseconds. Default 100. */
  readonly maxDelayMs?: number;
  /** No try starts later than this after the first, in milliseconds. Default 5,000. */
  readonly deadlineMs?: number;
}

/**
 * How a wait asks again: pauses that grow, each a random part of its limit ("full jitter"), until a deadline.
 * @throws TANDEM_WIRING for numbers that are not finite, negative ones, and a factor below 1.
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class RetryPolicy {
  readonly initialDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly deadlineMs: number;

  constructor(options: RetryPolicyOptions = {}) {
    this.initialDelayMs = options.initialDelayMs ?? 5;
    this.factor = options.factor ?? 1.5;
    this.maxDelayMs = options.maxDelayMs ?? 100;
    this.deadlineMs = options.deadlineMs ?? 5_000;
    for (const [name, least] of [
      ['initialDelayMs', 0],
      ['factor', 1],
      ['maxDelayMs', 0],
      ['deadlineMs', 0],
    ] as const) {
      if (!Number.isFinite(this[name]) || this[name] < least) throw new TandemError('TANDEM_WIRING', `RetryPolicy: ${name} is a number from ${least}, not ${this[name]}`);
    }
  }

  /** The pauses between tries, in milliseconds; ends when `elapsedMs()` has reached the deadline. The last pause ends at the deadline. */
  *delays(elapsedMs: () => number, random: () => number = Math.random): Generator<number, void> {
    for (let limit = Math.min(this.initialDelayMs, this.maxDelayMs); ; limit = Math.min(limit * this.factor, this.maxDelayMs)) {
      const left = this.deadlineMs - elapsedMs();
      if (left <= 0) return;
      yield Math.min(random() * limit, left);
    }
  }
}
