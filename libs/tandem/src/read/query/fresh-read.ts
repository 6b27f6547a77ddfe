import type { Type } from '@nestjs/common';
import type { MadeDemand, ReadDemand } from './read-demand.js';

export interface ReadRequest extends MadeDemand {
  /** What the handler reads (`@Reads`); undefined: not known, so every projection is concerned. */
  readonly entities: readonly Type[] | undefined;
  /** Whether the answer will be kept, so that the positions it was read at matter. */
  readonly keepPositions: boolean;
}

export interface Reading<T> {
  readonly value: T;
  /**
   * Shard → the position that every concerned projection had passed in the snapshot that the value was read in. Undefined when
   * not asked for, not known, or when a stream was held back then: such an answer proves nothing to a token.
   */
  readonly passed: ReadonlyMap<number, number> | undefined;
}

/** Port inside the core, filled by the consistency room: runs a query handler in a read-only snapshot that is as fresh as demanded. */
export abstract class FreshRead {
  /** @throws TANDEM_CONSISTENCY_TIMEOUT, TANDEM_CONSISTENCY_HELD, TANDEM_CONSISTENCY_IN_UNIT, TANDEM_TOKEN_INVALID, and what `work` throws. */
  abstract run<T>(request: ReadRequest, work: () => Promise<T>): Promise<Reading<T>>;

  /** Whether an answer that was read at these positions meets the demand without reading again. */
  abstract satisfies(demand: ReadDemand, passed: ReadonlyMap<number, number> | undefined): boolean;
}
