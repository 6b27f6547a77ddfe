/**
 * A *job* is a row: SQL is the truth, BullMQ carries it to a worker. Its *epoch* counts the runs; the ticket in BullMQ is
 * `j-<id>-<epoch>`, so a delivery that comes late or twice finds another epoch and has no effect. States: waiting → running →
 * done | waiting (again, later) | parked (out of attempts). Who operates the application ends a waiting or parked one as
 * discarded. A running job's worker renews its *lease* (`run_at`, by the
 * database's clock); when the lease runs out, the reconciler hands the job to another worker.
 */
import type { Unit } from '../kernel/unit-of-work.js';

export type JobState = 'waiting' | 'running' | 'done' | 'parked' | 'discarded';

export interface NewJob {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly payload: string;
  readonly metadata: string;
  /** Of two jobs with one key the first stays. Null: no check. */
  readonly dedupeKey: string | null;
  readonly delayMs: number;
}

export interface JobTicket {
  readonly id: string;
  readonly epoch: number;
  readonly queue: string;
}

export interface ClaimedJob extends JobTicket {
  readonly name: string;
  readonly payload: string;
  readonly metadata: string;
  /** This run included. */
  readonly attempts: number;
}

export interface JobSummary {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly state: JobState;
  readonly attempts: number;
  readonly lastError: string | null;
}

/** Port. */
export abstract class JobStore {
  /** Inserts in one statement, leaving out those whose dedupe key exists; returns the tickets (epoch 0) of those inserted. */
  abstract insert(unit: Unit, jobs: readonly NewJob[]): Promise<readonly JobTicket[]>;

  /** The job that has this dedupe key, as the unit sees it. */
  abstract withDedupeKey(unit: Unit, dedupeKey: string): Promise<string | undefined>;

  /** A short transaction of its own: epoch + 1, attempts + 1, running, lease. Undefined when the ticket is stale. */
  abstract claim(ticket: JobTicket, leaseMs: number): Promise<ClaimedJob | undefined>;

  /** Marks done, in the unit's transaction where given. @throws TANDEM_JOB_STALE when another run has taken over. */
  abstract complete(ticket: JobTicket, unit?: Unit): Promise<void>;

  /** After a failed run: waiting again in `retryInMs`, or parked when undefined. Returns the next ticket; undefined when stale or parked. */
  abstract fail(ticket: JobTicket, error: string, retryInMs: number | undefined): Promise<JobTicket | undefined>;

  /** As `fail` with a retry, but the run does not count as an attempt: this worker does not know the command. */
  abstract giveBack(ticket: JobTicket, reason: string, retryInMs: number): Promise<JobTicket | undefined>;

  /** Extends the leases of this process's running jobs. */
  abstract renew(tickets: readonly JobTicket[], leaseMs: number): Promise<void>;

  /**
   * Of each of these queues the oldest waiting jobs that are due for `overdueMs`, and the oldest running ones whose lease ran out:
   * at most `limit` of either, oldest first. Tickets as BullMQ should have them.
   */
  abstract due(queues: readonly string[], overdueMs: number, limit: number): Promise<readonly JobTicket[]>;

  /** How many there are in each state, per name. */
  abstract counts(): Promise<readonly { readonly name: string; readonly state: JobState; readonly count: number }[]>;

  /** Jobs in a state, newest first. */
  abstract list(state: JobState, limit: number): Promise<readonly JobSummary[]>;

  /** Parked jobs wait again, attempts counted anew. Returns their tickets. */
  abstract retryParked(id: string): Promise<readonly JobTicket[]>;

  /** A waiting or parked job never runs again; its row is kept as a done one's, with the reason. False when there is no such job. */
  abstract discard(id: string, reason: string): Promise<boolean>;

  /** Deletes done and discarded jobs older than this, in small steps. Returns how many. */
  abstract sweep(keepDoneMs: number): Promise<number>;
}
