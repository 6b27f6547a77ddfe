/**
 * A *job* is a row: SQL is the truth, BullMQ carries it to a worker. Its *epoch* counts the runs; the ticket in BullMQ is
 * `j-<id>-<epoch>`, so a delivery that comes late or twice finds another epoch and has no effect. States: waiting → running →
 * done | waiting (again, later) | parked (out of attempts). Who operates the application ends a waiting or parked one as
 * discarded. A running job's worker renews its *lease* (`run_at`, by the
 * database's clock); when the lease runs out, the reconciler hands the job to another worker.
 *
 * Jobs with one *sequence key* run one after the other, in the order in which the units that made them committed: each takes
 * its number at COMMIT, under the lock of its key's shard. All but the first are *held*: they are in no queue, and nothing looks
 * at them until the first has ended. That one keeps its place whatever it waits for (a delay, its next attempt, an operator).
 */
import type { Unit } from '../kernel/unit-of-work.js';

/** `held`: an earlier job of its sequence has not ended. */
export type JobState = 'waiting' | 'held' | 'running' | 'done' | 'parked' | 'discarded';

export interface NewJob {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly payload: string;
  readonly metadata: string;
  /** Of two jobs with one key the first stays. Null: no check. */
  readonly dedupeKey: string | null;
  /** Not before this many milliseconds have passed; or not before `runAt`, where that is given. */
  readonly delayMs: number;
  readonly runAt?: Date;
  /** As in BullMQ: 0 comes first, then 1, 2, … */
  readonly priority: number;
  /** Null: it runs beside all others. */
  readonly sequenceKey: string | null;
  /** How many of its command may share a ticket; the row does not tell. Default 1. */
  readonly batchSize?: number;
}

export interface JobTicket {
  readonly id: string;
  readonly epoch: number;
  readonly queue: string;
  /** Default 0. */
  readonly priority?: number;
}

/** A ticket of several jobs of one command, none of which has run before: they run together, in one transaction. */
export interface SharedTicket extends JobTicket {
  /** Ids of those that run with it; their epoch is its own. Default none. */
  readonly others?: readonly string[];
}

/** The same ticket with the name of its job's command. */
export interface NamedTicket extends JobTicket {
  readonly name: string;
}

/** A ticket on its way into the queue, where it waits for `delayMs` milliseconds (default 0). */
export interface DelayedTicket extends JobTicket {
  readonly delayMs?: number;
}

/**
 * What became of a change to a job: `changed`; `held`, changed, but its turn comes only when the earlier ones of its sequence have ended;
 * or nothing, since it is `running`, `parked`, has `ended`, or is `missing` (it never was, or is no longer kept).
 */
export type JobChange = 'changed' | 'held' | 'running' | 'parked' | 'ended' | 'missing';

export interface ChangedJob {
  readonly change: JobChange;
  /** For the queue; the ones from before are stale. Undefined where there is nothing to run, or not yet. */
  readonly ticket?: JobTicket;
  /** The sequence that it has left. */
  readonly left?: string;
}

export interface ClaimedJob extends JobTicket {
  readonly name: string;
  readonly payload: string;
  readonly metadata: string;
  /** This run included, if it counts: one together with others does not. */
  readonly attempts: number;
  readonly sequenceKey: string | null;
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
  /**
   * Inserts in one statement, leaving out those whose dedupe key exists; returns the tickets (epoch 0) of those inserted. Those with a
   * sequence key are held; they take their numbers at the unit's COMMIT, and `release` lets the first of each sequence go.
   */
  abstract insert(unit: Unit, jobs: readonly NewJob[]): Promise<readonly JobTicket[]>;

  /** The job that has this dedupe key, as the unit sees it. */
  abstract withDedupeKey(unit: Unit, dedupeKey: string): Promise<string | undefined>;

  /** A short transaction of its own: epoch + 1, attempts + 1, running, lease. Undefined when the ticket is stale, or comes more than a second before the job's time by the database's clock. */
  abstract claim(ticket: JobTicket, leaseMs: number): Promise<ClaimedJob | undefined>;

  /**
   * As `claim`, of several jobs that are to run together, without those that cannot be claimed. It counts as an attempt for none of them: which one of them ended the
   * process, if that happens, nobody can tell. Whoever has been claimed so once is claimed alone the next time.
   */
  abstract claimTogether(tickets: readonly JobTicket[], leaseMs: number): Promise<readonly ClaimedJob[]>;

  /** Marks done, in the unit's transaction where given. TANDEM_JOB_STALE when another run has taken over: thrown here, or by the end of the unit, which then writes nothing. */
  abstract complete(ticket: JobTicket, unit?: Unit): Promise<void>;

  /** As `complete`, of jobs that ran together in this unit: all of them, or none. */
  abstract completeTogether(tickets: readonly JobTicket[], unit: Unit): Promise<void>;

  /** After a failed run: waiting again in `retryInMs`, or parked when undefined. Returns the next ticket; undefined when stale or parked. */
  abstract fail(ticket: JobTicket, error: string, retryInMs: number | undefined): Promise<JobTicket | undefined>;

  /** As `fail` with a retry, but the run does not count as an attempt: this worker does not know the command. */
  abstract giveBack(ticket: JobTicket, reason: string, retryInMs: number): Promise<JobTicket | undefined>;

  /** As `giveBack`, of jobs that were claimed together; those that others have taken over stay with them. */
  abstract giveBackTogether(tickets: readonly JobTicket[], reason: string, retryInMs: number): Promise<void>;

  /** Extends the leases of this process's running jobs. */
  abstract renew(tickets: readonly JobTicket[], leaseMs: number): Promise<void>;

  /** The first job of each of these sequences (undefined: of all) waits from now on, if it was held. Returns the tickets of those. After COMMIT: it sees what is committed. */
  abstract release(sequenceKeys?: readonly string[]): Promise<readonly DelayedTicket[]>;

  /**
   * Of each of these queues the oldest waiting jobs that are due for `overdueMs`, and the oldest running ones whose lease ran out:
   * at most `limit` of either; by priority, then oldest first. Tickets as BullMQ should have them.
   */
  abstract due(queues: readonly string[], overdueMs: number, limit: number): Promise<readonly NamedTicket[]>;

  /** How many there are in each state, per name. */
  abstract counts(): Promise<readonly { readonly name: string; readonly state: JobState; readonly count: number }[]>;

  /** Jobs in a state, newest first. */
  abstract list(state: JobState, limit: number): Promise<readonly JobSummary[]>;

  /** Parked jobs wait again, attempts counted anew. Returns their tickets. */
  abstract retryParked(id: string): Promise<readonly JobTicket[]>;

  /** A waiting, held or parked job never runs again: its row is kept as a done one's, with the reason. */
  abstract discard(unit: Unit, id: string, reason: string): Promise<ChangedJob>;

  /** A waiting or held job may run from `runAt` on (default: from now on), and tickets of before are stale: epoch + 1. */
  abstract reschedule(unit: Unit, id: string, runAt?: Date): Promise<ChangedJob>;

  /** Deletes done and discarded jobs older than this, in small steps. Returns how many. */
  abstract sweep(keepDoneMs: number): Promise<number>;
}
