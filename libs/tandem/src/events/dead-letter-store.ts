import type { Unit } from '../kernel/unit-of-work.js';
import type { Position } from './event-log.js';

/** `retrying`: runs again when due. `parked`: out of attempts, an operator decides. `discarded`: an operator did; its stream goes on behind the event when a worker comes to it. */
export type DeadLetterState = 'retrying' | 'parked' | 'discarded';

/** One stream that one consumer holds back, from `position` on. */
export interface DeadLetter extends Position {
  readonly consumer: string;
  readonly generation: number;
  readonly tenant: string;
  readonly stream: string;
  readonly eventId: string;
  readonly type: string;
  readonly state: DeadLetterState;
  readonly attempts: number;
  /** Not parked, and its time has come by the database's clock. */
  readonly due: boolean;
  /** Message and code of the error, without payload. */
  readonly error: string;
}

export interface NewDeadLetter extends Omit<DeadLetter, 'due'> {
  /** From now, by the database's clock. */
  readonly retryInMs: number;
}

/** Which letters are listed. */
export interface LetterFilter {
  readonly consumer?: string;
  readonly consumers?: readonly string[];
  /** Default all, those of rows that are being rebuilt too; where only what is due is asked for, the live one. */
  readonly generation?: number;
  /** Only those to be retried now. */
  readonly due?: boolean;
  readonly limit?: number;
}

/** Port. Streams held back. Every change runs under the lock of the shard's checkpoint. */
export abstract class DeadLetterStore {
  /** Inserts, or replaces position, state, attempts, error and due time of the same stream. */
  abstract hold(unit: Unit, letter: NewDeadLetter): Promise<void>;

  /** The stream goes on. */
  abstract release(unit: Unit, letter: Pick<DeadLetter, 'consumer' | 'generation' | 'tenant' | 'stream'>): Promise<void>;

  /** Held streams of a consumer in these shards, in the unit's transaction. `live`: of the rows that readers see; while rebuilt ones take their place, of both. */
  abstract held(unit: Unit, consumer: string, generation: number | 'live', shards: readonly number[]): Promise<readonly DeadLetter[]>;

  /** Letters, newest last: of one consumer, of several or of all. Without locks. */
  abstract list(filter?: LetterFilter): Promise<readonly DeadLetter[]>;

  /** Which of these consumers have letters of their live generation that are due. Without locks. */
  abstract dueConsumers(consumers: readonly string[]): Promise<readonly string[]>;

  /** Makes letters due at once (parked ones too), with their attempts counted anew. Returns how many. */
  abstract retryNow(filter: { readonly consumer: string; readonly tenant?: string; readonly stream?: string }): Promise<number>;

  /** Makes letters of a stream `discarded`, with the reason as their error. Returns how many. */
  abstract discard(filter: { readonly consumer: string; readonly tenant?: string; readonly stream: string }, reason: string): Promise<number>;
}
