/**
 * A *rebuild* makes the rows of a projection anew, from the whole log, in *shadow tables* beside the live ones: a *generation* with
 * checkpoints and dead letters of its own. When it has caught up it is *swapped*: its tables take the names of the live ones.
 * All of it is in SQL, so that any worker may help and whoever is killed is replaced.
 *
 * States: `creating` (its tables) → `filling` ⇄ `blocked` (waits for an operator) → `swapping` (the live generation stands still for a
 * moment; back to `filling` where that moment gets long) → `swapped` (what is left of the old one is removed) → gone.
 * `cancelled`: its tables are being removed.
 */
import type { Type } from '@nestjs/common';
import type { Unit } from '../../../kernel/unit-of-work.js';
import type { RowStore } from '../row-store.js';

export type RebuildState = 'creating' | 'filling' | 'blocked' | 'swapping' | 'swapped' | 'cancelled';

/** Paths of tables, as TypeORM writes them: unquoted, with the schema where the entity has one. */
export interface ShadowTable {
  readonly entity: string;
  readonly live: string;
  readonly shadow: string;
  /** What the live one is called after the swap, until it is dropped. */
  readonly old: string;
}

/** What shadow tables look like. */
export interface ShadowModel {
  readonly entities: readonly Type[];
  /** Copies of the live ones, or as the entity would have them. */
  readonly like: 'table' | 'entity';
}

/** What an operator has allowed. */
export interface Allowed {
  readonly deadLetters: boolean;
  readonly rowsWithoutEvents: boolean;
}

export interface Rebuild {
  readonly consumer: string;
  readonly generation: number;
  /** Of the code that builds it. */
  readonly version: number;
  readonly state: RebuildState;
  /** Why it is blocked. */
  readonly reason: string | null;
  readonly tables: readonly ShadowTable[];
  readonly allowed: Allowed;
  /** Of the live rows, which it will replace. */
  readonly liveGeneration: number;
  /** Since it was begun, by the database's clock. */
  readonly ageMs: number;
  /** Since it came into its state, or was last told something. */
  readonly stateAgeMs: number;
}

export interface NewRebuild {
  readonly consumer: string;
  readonly version: number;
  /** Names its tables. A number is never used twice, so that who was away for long cannot mistake one rebuild for another. */
  readonly tables: (generation: number) => readonly ShadowTable[];
  readonly allowed: Allowed;
}

/** Port. The states of rebuilds; in the data source of the read side. */
export abstract class RebuildStore {
  /**
   * Begins one with checkpoints at the beginning of the log, or joins the one that is there: a blocked one goes on, with what is allowed now.
   * @throws TANDEM_REBUILD_RUNNING when one of another version of the code is there.
   */
  abstract begin(request: NewRebuild): Promise<Rebuild>;

  /** Of all consumers, or of one. */
  abstract list(consumer?: string): Promise<readonly Rebuild[]>;

  /** The number that the next one will have. @throws TANDEM_WIRING for a consumer that was never registered. */
  abstract nextGeneration(consumer: string): Promise<number>;

  /** From one of these states to another one; false when it was in none of them. */
  abstract change(rebuild: Rebuild, from: readonly RebuildState[], to: { readonly state: RebuildState; readonly reason?: string }, unit?: Unit): Promise<boolean>;

  /** Shard → number, of one generation. */
  abstract positions(consumer: string, generation: number): Promise<ReadonlyMap<number, number>>;

  /** Forgets a rebuild that was swapped or cancelled: its row, and checkpoints and letters of the generation that has no rows any more. */
  abstract forget(rebuild: Rebuild): Promise<void>;

  /** Empties the live tables and sets the checkpoints to the beginning of the log, in one transaction. @throws TANDEM_REBUILD_RUNNING */
  abstract reset(consumer: string, version: number, entities: readonly Type[]): Promise<void>;
}

export interface SwapRequest {
  readonly rebuild: Rebuild;
  /** Brings the rebuilt generation past the live one, which stands still meanwhile. False: it cannot, now. */
  readonly catchUp: () => Promise<boolean>;
}

/** `busy`: another worker is at it. `aborted`: the live generation goes on, and it can be tried again. */
export type SwapResult = 'swapped' | 'busy' | 'aborted';

/** Port. The tables of rebuilds; in the data source of the read side. */
export abstract class ShadowTables {
  /** Names for the tables of a generation. @throws TANDEM_REBUILD_REFUSED for an entity that is no table of its own. */
  abstract names(entities: readonly Type[], generation: number, liveGeneration?: number): readonly ShadowTable[];

  /** Why these tables cannot be rebuilt: foreign keys, triggers, and the like. */
  abstract problems(entities: readonly Type[]): Promise<readonly string[]>;

  /** Makes what is missing of them; tables that somebody has prepared stay as they are. False: another worker is at it, or its state is no longer `creating`. @throws TANDEM_REBUILD_REFUSED */
  abstract create(rebuild: Rebuild, model: ShadowModel): Promise<boolean>;

  /** The statements that `create` would send, and the rights that the swap needs. */
  abstract script(tables: readonly ShadowTable[], model: ShadowModel): Promise<readonly string[]>;

  /** Rows of the entities in their shadow tables. */
  abstract rows(tables: readonly ShadowTable[], entities: readonly Type[]): RowStore;

  /** How many live rows the rebuilt generation has no row for (its key); it has read everything that the live one has. */
  abstract missingRows(tables: readonly ShadowTable[], entities: readonly Type[], caughtUp: () => Promise<boolean>): Promise<number>;

  /** Steps (a) to (d), and wherever a swap was left: rolls it forward by which table exists. */
  abstract swap(request: SwapRequest): Promise<SwapResult>;

  /** Removes what a swap or a cancelled rebuild has left. */
  abstract drop(rebuild: Rebuild): Promise<void>;
}
