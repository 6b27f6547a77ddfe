import type { Type } from '@nestjs/common';
import { Big } from 'big.js';
import { TandemError } from '../kernel/errors.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { rowId, RowStore, type KeyValues, type RowChanges, type RowDelta, type RowShape } from '../read/projection/row-store.js';

/** What the database would know of a read entity. */
export interface InMemoryEntity {
  readonly entity: Type<object>;
  /** Properties of its primary key. */
  readonly keys: readonly string[];
  /** Its other columns, with what a new row holds in them. */
  readonly defaults: Readonly<Record<string, unknown>>;
}

/** Rows in memory, for specs of projections. Rows are copied on the way in and out, as a database does. It knows no transactions. */
export class InMemoryRowStore extends RowStore {
  private readonly tables = new Map<Type, { readonly shape: RowShape; readonly defaults: object; readonly rows: Map<string, object> }>();

  constructor(entities: readonly InMemoryEntity[]) {
    super();
    for (const { entity, keys, defaults } of entities) this.tables.set(entity, { shape: { keys, columns: Object.keys(defaults) }, defaults, rows: new Map() });
  }

  /** All rows of an entity, in the order of their keys. */
  rowsOf<T extends object>(entity: Type<T>): readonly T[] {
    return [...this.rowsIn(entity).rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => copy(row as T));
  }

  override shape(entity: Type): RowShape {
    return this.rowsIn(entity).shape;
  }

  override fresh(entity: Type, key: KeyValues): object {
    const row = new entity() as Record<string, unknown>;
    for (const [column, value] of Object.entries(structuredClone(this.rowsIn(entity).defaults))) row[column] ??= value;
    return Object.assign(row, key);
  }

  override async load(_unit: Unit, entity: Type, keys: readonly KeyValues[]): Promise<ReadonlyMap<string, object>> {
    const { rows, shape } = this.rowsIn(entity);
    const found = new Map<string, object>();
    for (const id of keys.map((key) => rowId(shape, key))) if (rows.has(id)) found.set(id, copy(rows.get(id)!));
    return found;
  }

  override async write(_unit: Unit, entity: Type, { deletes, updates, inserts }: RowChanges): Promise<void> {
    const { rows, shape } = this.rowsIn(entity);
    for (const { key } of deletes) rows.delete(rowId(shape, key));
    for (const { key, row } of updates) {
      if (!rows.has(rowId(shape, key))) throw new Error(`${entity.name} has no row ${rowId(shape, key)} to update`);
      rows.set(rowId(shape, key), copy(row));
    }
    for (const { key, row } of inserts) {
      if (rows.has(rowId(shape, key))) throw new Error(`duplicate key ${rowId(shape, key)} of ${entity.name}`);
      rows.set(rowId(shape, key), copy(row));
    }
  }

  override async add(_unit: Unit, entity: Type, deltas: readonly RowDelta[]): Promise<void> {
    const { rows, shape } = this.rowsIn(entity);
    for (const { key, add } of deltas) {
      const row = (rows.get(rowId(shape, key)) ?? this.fresh(entity, key)) as Record<string, unknown>;
      for (const [column, amount] of add) {
        const sum = new Big((row[column] as string | number | null) ?? 0).plus(amount);
        row[column] = typeof row[column] === 'number' ? sum.toNumber() : sum.toFixed();
      }
      rows.set(rowId(shape, key), row);
    }
  }

  /** There is no EntityManager: a lookup or free projection that uses one needs a database. */
  override manager(): unknown {
    return undefined;
  }

  /** There is no SQL to use it in. */
  override table(entity: Type): string {
    return entity.name;
  }

  private rowsIn(entity: Type) {
    const table = this.tables.get(entity);
    if (!table) throw new TandemError('TANDEM_WIRING', `${entity.name} is no entity of this InMemoryRowStore`);
    return table;
  }
}

const copy = <T extends object>(row: T): T => Object.assign(Object.create(Object.getPrototypeOf(row) as object) as T, structuredClone({ ...row }));
