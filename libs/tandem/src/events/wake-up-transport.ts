import type { Schedule } from './run-condition.js';

export interface WakeUp {
  readonly consumer: string;
  /** Somebody waits for all that is committed: it runs whatever it waits for itself. */
  readonly forced: boolean;
  /** Of the schedule that sent it, as text. */
  readonly schedule?: string;
}

/** Who is to be woken by the clock. */
export interface ScheduledWakeUps {
  readonly scheduled: readonly { readonly consumer: string; readonly schedule: Schedule }[];
  /** Those that are not, or no more: what was arranged for them goes. */
  readonly unscheduled: readonly string[];
}

/** Port, filled by the job adapter: carries "this consumer has something to read" to some worker. It may lose or repeat them: the reconciler finds what lags. */
export abstract class WakeUpTransport {
  /** One message per consumer, dropped where one of its kind is already waiting. Rejects while the transport is away. */
  abstract signal(consumers: readonly string[], forced?: boolean): Promise<void>;

  /** Arranges for messages at the slots of these schedules, instead of what was arranged before. Rejects while the transport is away. */
  abstract arrange(wakeUps: ScheduledWakeUps): Promise<void>;

  /** Starts to receive. At most `concurrency` handlers run at once in this process. */
  abstract listen(handler: (wakeUp: WakeUp) => Promise<void>, concurrency: number): Promise<void>;

  /** Takes no more messages; resolves when running handlers are done or after `drainMs`. */
  abstract stop(drainMs: number): Promise<void>;
}
