import type { Consumer } from '../events/consumer.js';
import type { EntityManagerOf } from '../events/storage-types.js';
import type { Unit } from '../kernel/unit-of-work.js';

/** Brings a consumer, inside the unit's transaction, exactly to these positions. */
export type DrainTo = (unit: Unit, consumer: Consumer, upTo: ReadonlyMap<number, number>) => Promise<void>;

/** What is read on each side. Each gets the manager of its own transaction, and may run at the same time as the other. */
export interface BothSides<W, R> {
  readonly write: (manager: EntityManagerOf) => Promise<W>;
  readonly read: (manager: EntityManagerOf) => Promise<R>;
}

export interface AtOnePosition<W, R> {
  readonly write: W;
  readonly read: R;
  /** Shard → the position that both sides were read at. */
  readonly heads: ReadonlyMap<number, number>;
}

/** Port: reads the write side and the read side as they are at one and the same position of the log, while commands go on. */
export abstract class PositionSnapshot {
  /** Outside of any unit. @throws TANDEM_CONSUMER_HALTED when a consumer cannot be brought to that position. */
  abstract read<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>>;
}
