import type { Type } from '@nestjs/common';
import type { Unit } from '../../kernel/unit-of-work.js';

export type KeyValues = Readonly<Record<string, string | number>>;

export interface RowShape {
  /** Property names of the primary key, in order. */
  readonly keys: readonly string[];
  /** Property names that a handler may set. */
  readonly columns: readonly string[];
  /** Besides the key something else is unique, or is checked: one row may be in the way of another. */
  readonly constrained?: boolean;
}

/** A row as it was loaded and as the handlers left it. */
export interface RowChange {
  readonly key: KeyValues;
  readonly row: object;
}

export interface RowChanges {
  readonly inserts: readonly RowChange[];
  readonly updates: readonly RowChange[];
  readonly deletes: readonly RowChange[];
}

export interface RowDelta {
  readonly key: KeyValues;
  /** Property → exact decimal to add. */
  readonly add: ReadonlyMap<string, string>;
}

/** Port. Rows of read entities, many to a statement, inside the batch's transaction. */
export abstract class RowStore {
  /** @throws TANDEM_WIRING when the class is no entity of the data source. */
  abstract shape(entity: Type): RowShape;

  /** A fresh instance with the entity's defaults and this key. */
  abstract fresh(entity: Type, key: KeyValues): object;

  /** The rows that exist among these keys, keyed by `rowId`. */
  abstract load(unit: Unit, entity: Type, keys: readonly KeyValues[]): Promise<ReadonlyMap<string, object>>;

  /** Deletes, then updates, then inserts: each in multi-row statements that never touch another row through a second UNIQUE. */
  abstract write(unit: Unit, entity: Type, changes: RowChanges): Promise<void>;

  /** `col = col + ?`; missing rows begin at the entity's defaults. Deltas of one key come already summed. */
  abstract add(unit: Unit, entity: Type, deltas: readonly RowDelta[]): Promise<void>;

  /** The transaction's own manager, for free projections and lookups. */
  abstract manager(unit: Unit): unknown;

  /** The name of an entity's table as SQL has it, quoted: while rows are rebuilt, of the table that they are built in. */
  abstract table(entity: Type): string;
}

/** One string per key, for maps. */
export const rowId = (shape: RowShape, key: KeyValues): string =>
  shape.keys.length === 1 ? String(key[shape.keys[0]!]) : JSON.stringify(shape.keys.map((name) => String(key[name])));
