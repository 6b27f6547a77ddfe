import type { Type } from '@nestjs/common';
import type { Unit } from '../kernel/unit-of-work.js';
import type { Heads, Position } from './event-log.js';

/** `halted`: an event failed and the consumer may not go on without it. `paused`: by an operator, or after the same error on many streams running. `swapping`: for a moment, while rebuilt rows take the place of the live ones. */
export type ConsumerState = 'running' | 'halted' | 'paused' | 'swapping';

export interface ConsumerRegistration {
  readonly name: string;
  readonly kind: string;
  readonly types: readonly string[];
  /** No longer handled: taken out of the union of types. */
  readonly retiredTypes?: readonly string[];
  readonly version: number;
  readonly startFrom: 'beginning' | 'now';
  /** Where a consumer is registered under this name, and none under the new one, it is renamed, with its checkpoints and dead letters. */
  readonly renamedFrom?: string;
  /** Whose rows it writes: a look at its positions also holds their tables, so that they are not swapped under who reads both. */
  readonly entities?: readonly Type[];
}

export interface RegisteredConsumer {
  readonly name: string;
  readonly kind: string;
  /** Union of the event types of every version of the code that ever registered. */
  readonly types: readonly string[];
  /** Of the code that the live rows were made by. */
  readonly liveVersion?: number;
  /** Since it was first registered, by the database's clock. */
  readonly ageMs: number;
}

export interface Checkpoint extends Position {
  readonly eventId: string | null;
}

export interface ClaimRequest {
  readonly consumer: string;
  /** Of a rebuild, in this state of it, instead of the live generation. */
  readonly rebuild?: { readonly generation: number; readonly state: string };
  /** Lock the consumer's own row first, so that one batch runs at a time. */
  readonly exclusive: boolean;
  /** Only these shards; default all. */
  readonly shards?: readonly number[];
  /** At most this many checkpoints. */
  readonly limit?: number;
  /** No more checkpoints than it takes to find so many events behind them: what one batch cannot read is better left to another lane, and few shards are read faster than many. */
  readonly events?: number;
  /** Wait for locks (a command that folds) or skip what another process holds (a worker). */
  readonly wait: boolean;
  /** Of an exclusive claim that skips: it waits for the consumer's own row, so that its turn comes though others have that row without a pause. */
  readonly inLine?: boolean;
}

export interface Claim {
  readonly consumer: string;
  readonly generation: number;
  readonly state: ConsumerState;
  /** Of the code that this generation's rows are made by: older code leaves them alone. */
  readonly version?: number;
  /** Union of the event types of every version of the code that ever registered. */
  readonly types: readonly string[];
  /** Empty when a worker asked and nothing lags. */
  readonly checkpoints: readonly Checkpoint[];
  /**
   * Of a worker's claim: the heads and the clock by which these shards were found to lag. The batch reads no further, since in a
   * shard that was not behind then something older may have been committed meanwhile.
   */
  readonly heads?: Heads;
  /** Why the log is not the one that these checkpoints were written for, where the claim has seen it. */
  readonly wentBack?: string;
}

export interface ConsumerStatus {
  readonly consumer: string;
  readonly kind: string;
  readonly state: ConsumerState;
  /** Why it does not run. */
  readonly reason: string | null;
  readonly generation: number;
  /** Events between checkpoints and heads, of any type. */
  readonly lag: number;
  readonly laggingShards: readonly number[];
  /** The slot that a scheduled consumer has last come to the end of, in any process. */
  readonly lastRunAt: Date | null;
  /** The database's clock when this was read. */
  readonly readAt: Date;
}

/** Shard → number, of the generation that is live. */
export interface Positions extends ReadonlyMap<number, number> {
  readonly generation?: number;
}

/** Port. Who reads the log, and how far they are. */
export abstract class ConsumerStore {
  /**
   * Inserts or widens (types are a union); a new consumer gets its checkpoints at the beginning or at the current heads. Idempotent, safe when several processes start at once.
   * @throws TANDEM_WIRING for a name of another kind; for one that was renamed, which older code declares; for a renaming while both names are registered, or while it is rebuilt.
   */
  abstract register(registrations: readonly ConsumerRegistration[]): Promise<void>;

  /** Every consumer that was ever registered, by name. */
  abstract registered(): Promise<readonly RegisteredConsumer[]>;

  /** Locks checkpoints FOR UPDATE in shard order (SKIP LOCKED unless `wait`), then reads the consumer's state. Undefined when others hold what there is to lock, and to who does not wait while the consumer is being swapped. */
  abstract claim(unit: Unit, request: ClaimRequest): Promise<Claim | undefined>;

  /** Writes the claim's new checkpoints, in one statement. */
  abstract advance(unit: Unit, claim: Claim, checkpoints: readonly Checkpoint[]): Promise<void>;

  /** Every registered consumer with its lag: one query, no locks. */
  abstract status(): Promise<readonly ConsumerStatus[]>;

  /** Notes that the run of this slot has come to its end; an earlier slot than the noted one changes nothing. Microseconds since the epoch. */
  abstract noteRun(unit: Unit, consumer: string, slotMicros: number): Promise<void>;

  /** Sets the state, with the reason for an operator. In the unit's transaction, where given. @throws TANDEM_REBUILD_RUNNING while it is being swapped. */
  abstract setState(consumer: string, state: ConsumerState, reason: string | null, unit?: Unit): Promise<void>;

  /** Checkpoints of the live generations, without locks; in the unit's snapshot, where given. */
  abstract positions(consumers: readonly string[], shards: readonly number[], unit?: Unit): Promise<ReadonlyMap<string, Positions>>;
}
