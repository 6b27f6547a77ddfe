import { type BatchedRuns, cronProblem, type RunCondition, type ScheduledRuns } from '../../events/run-condition.js';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';

/** When a projection is brought up to date. All strategies are one loop with different callers, so switching is free. */
export type SyncStrategy = { readonly kind: 'immediate' } | { readonly kind: 'eventual' } | BatchedRuns | ScheduledRuns;

type NoOptions = Readonly<Record<string, never>>;

export interface BatchedOptions {
  /** The oldest event that waits has waited at most this long, in milliseconds, from 1. Default 1,000. */
  readonly maxWaitMs?: number;
}

export type ScheduledOptions =
  | {
      /** Milliseconds from one run to the next, from 1,000. Runs are at whole multiples since 1970, the same ones in every process. */
      readonly everyMs: number;
    }
  | {
      /** Five fields, or six with seconds before them. */
      readonly cron: string;
      /** As in `Europe/Berlin`. Default `UTC`. */
      readonly timezone?: string;
    };

export const SYNC_KINDS: readonly SyncStrategy['kind'][] = ['immediate', 'eventual', 'batched', 'scheduled'];
const EVERY_AT_LEAST_MS = 1_000;

const refused = (kind: string, what: string): TandemError => new TandemError('TANDEM_WIRING', `SyncStrategy.${kind}: ${what}`);
const isWhole = (value: unknown, from: number): boolean => Number.isSafeInteger(value) && Number(value) >= from;

/** They throw TANDEM_WIRING for an unknown or wrong option. */
export const SyncStrategy = {
  /** The command folds its own events before its COMMIT: no reader ever sees the old row. The command pays for it. */
  immediate: (options: NoOptions = {}): SyncStrategy => ({ kind: 'immediate', ...knownOptions('SyncStrategy.immediate', options, {}) }),
  /** A wake-up job after COMMIT, many events to a transaction under load. The default. */
  eventual: (options: NoOptions = {}): SyncStrategy => ({ kind: 'eventual', ...knownOptions('SyncStrategy.eventual', options, {}) }),
  /** Runs when `size` events of its types wait for it, over all processes, or the oldest of them has waited for `maxWaitMs`; and for who demands consistency. */
  batched(size: number, options: BatchedOptions = {}): SyncStrategy {
    const { maxWaitMs = 1_000 } = knownOptions<BatchedOptions>('SyncStrategy.batched', options, { maxWaitMs: true });
    if (!isWhole(size, 1)) throw refused('batched', 'size is a whole number from 1');
    if (!isWhole(maxWaitMs, 1)) throw refused('batched', 'maxWaitMs is a whole number from 1');
    return Object.freeze({ kind: 'batched', size, maxWaitMs });
  },
  /**
   * Runs once in each slot of the schedule, over all processes, and reads what was recorded before the slot; and up to now for who demands consistency.
   * Slots that pass while no worker runs are one run. One batch at a time, whatever the projection's `parallelism`.
   */
  scheduled(options: ScheduledOptions): SyncStrategy {
    const { cron, everyMs, timezone } = knownOptions<{ cron?: string; everyMs?: number; timezone?: string }>('SyncStrategy.scheduled', options, {
      cron: true,
      everyMs: true,
      timezone: true,
    });
    if ((cron === undefined) === (everyMs === undefined)) throw refused('scheduled', 'give it `everyMs`, or `cron` (with `timezone`)');
    if (cron === undefined) {
      if (timezone !== undefined) throw refused('scheduled', '`timezone` belongs to `cron`, not to `everyMs`');
      if (!isWhole(everyMs, EVERY_AT_LEAST_MS)) throw refused('scheduled', `everyMs is a whole number from ${EVERY_AT_LEAST_MS}`);
      return Object.freeze({ kind: 'scheduled', everyMs: everyMs! });
    }
    const zone = timezone ?? 'UTC';
    const problem = cronProblem(String(cron), String(zone));
    if (problem) throw refused('scheduled', problem);
    return Object.freeze({ kind: 'scheduled', cron, timezone: zone });
  },
} as const;

/** What a projection with this strategy waits for before a worker runs it. */
export const conditionOf = (strategy: SyncStrategy): RunCondition | undefined => (strategy.kind === 'batched' || strategy.kind === 'scheduled' ? strategy : undefined);
