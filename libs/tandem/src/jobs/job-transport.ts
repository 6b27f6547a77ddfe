import type { DelayedTicket, SharedTicket } from './job-store.js';

export interface NewTicket extends DelayedTicket, SharedTicket {
  /** How many tickets were added for this run before that never came; this one is not the same as any of them. Default 0. */
  readonly again?: number;
}

/** A job of somebody else's queue. */
export interface ForeignJob {
  /** Of the job there too: one that is there already is left alone. */
  readonly id: string;
  readonly queue: string;
  readonly prefix: string;
  readonly name: string;
  /** Plain JSON. */
  readonly data: unknown;
  readonly attempts: number;
  readonly priority: number;
}

/** Port, filled by the job adapter. It may lose or repeat tickets: the reconciler adds what is due and missing. */
export abstract class JobTransport {
  /** Adds tickets; one that is there already is left alone. Rejects while the transport is away. */
  abstract add(tickets: readonly NewTicket[]): Promise<void>;

  /** How many tickets this queue has that no worker has taken, delayed ones included. Rejects while the transport is away. */
  abstract queued(queue: string): Promise<number>;

  /** Adds a job to a queue that is not Tandem's, on the same server. @throws TANDEM_QUEUE_UNAVAILABLE while the transport is away. */
  abstract handOver(job: ForeignJob): Promise<void>;

  /** Starts to receive the tickets of a queue. The handler never rejects: it settles the job in SQL. */
  abstract work(queue: string, concurrency: number, handler: (ticket: SharedTicket) => Promise<void>): Promise<void>;

  /** Takes no more tickets; resolves when running handlers are done or after `drainMs`. */
  abstract stop(drainMs: number): Promise<void>;
}
