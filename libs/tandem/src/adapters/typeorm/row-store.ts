import type { Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { Unit } from '../../kernel/unit-of-work.js';
import { RowStore, type KeyValues, type RowChanges, type RowDelta, type RowShape } from '../../read/projection/row-store.js';
import { addToRows } from './row-add.js';
import { loadRows } from './row-load.js';
import { planFor, type RowPlan } from './row-plan.js';
import { RowSql } from './row-sql.js';
import { quotedPath } from './quoted-path.js';
import { shadowManager, type Shadows } from './shadow-manager.js';
import { managerOf } from './sql.js';
import { valuesOf, writeRows, type LoadedValues } from './row-write.js';

/**
 * Rows of read entities by SQL that is generated from TypeORM's metadata, many rows to a statement. An update writes only the
 * columns that a handler changed: a Date in JavaScript has milliseconds, and what a column holds beyond them must survive.
 * `@VersionColumn` and `@UpdateDateColumn` move with every write of a row, as in TypeORM (so a version counts writes, not events).
 */
export class TypeOrmRowStore extends RowStore {
  private readonly plans = new Map<Type, RowPlan>();
  private readonly loaded: LoadedValues = new WeakMap();

  /** @param shadows tables in the place of the entities' own. */
  constructor(
    private readonly dataSource: DataSource,
    private readonly shadows?: Shadows,
  ) {
    super();
  }

  override shape(entity: Type): RowShape {
    return this.plan(entity).shape;
  }

  override fresh(entity: Type, key: KeyValues): object {
    return this.plan(entity).fresh(key);
  }

  override async load(unit: Unit, entity: Type, keys: readonly KeyValues[]): Promise<ReadonlyMap<string, object>> {
    const plan = this.plan(entity);
    const rows = await loadRows(plan, this.sql(unit, plan), keys);
    for (const row of rows.values()) this.loaded.set(row, valuesOf(plan, row));
    return rows;
  }

  override write(unit: Unit, entity: Type, changes: RowChanges): Promise<void> {
    const plan = this.plan(entity);
    return writeRows(plan, this.sql(unit, plan), changes, this.loaded);
  }

  override add(unit: Unit, entity: Type, deltas: readonly RowDelta[]): Promise<void> {
    const plan = this.plan(entity);
    return addToRows(plan, this.sql(unit, plan), deltas);
  }

  override manager(unit: Unit): unknown {
    return this.shadows ? shadowManager(managerOf(unit), this.shadows) : managerOf(unit);
  }

  override table(entity: Type): string {
    const metadata = this.dataSource.getMetadata(entity);
    return quotedPath(this.dataSource, this.shadows?.get(entity) ?? metadata.tablePath);
  }

  private sql(unit: Unit, plan: RowPlan): RowSql {
    return new RowSql(unit, plan.dialect);
  }

  private plan(entity: Type): RowPlan {
    const known = this.plans.get(entity);
    if (known) return known;
    const plan = planFor(entity, this.dataSource, this.shadows?.get(entity));
    this.plans.set(entity, plan);
    return plan;
  }
}
