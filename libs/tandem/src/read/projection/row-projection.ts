import type { Type } from '@nestjs/common';
import type { ConsumedEvent } from '../../events/consumer.js';
import type { OnMark } from '../../events/on.js';
import type { EntityManagerOf } from '../../events/storage-types.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type DeclaredProjection, handlingEvent, marksByType } from './projection-marks.js';
import { RowFold } from './row-fold.js';
import type { KeyValues, RowStore } from './row-store.js';
import { rowSteps, type RowStep } from './row-steps.js';
import { SummedDeltas } from './summed-deltas.js';

/** Handles the batches of one row projection: keys, one load, the methods in order, few writes. */
export class RowProjection {
  private readonly marks: ReadonlyMap<string, readonly OnMark[]>;
  private readonly addsOnly: boolean;

  private readonly instance: object;
  private readonly entity: Type;

  constructor(
    private readonly projection: DeclaredProjection & { readonly entity: Type },
    private readonly rows: RowStore,
  ) {
    const { entity, instance, marks } = projection;
    this.instance = instance;
    this.entity = entity;
    this.marks = marksByType(marks);
    this.addsOnly = marks.every((mark) => mark.kind === 'delta');
  }

  async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    const shape = this.rows.shape(this.entity);
    const steps = await rowSteps(events, this.marks, shape, { manager: () => this.rows.manager(unit) as EntityManagerOf, timeoutMs: this.projection.handlerTimeoutMs });
    await (this.addsOnly ? this.add(unit, steps) : this.fold(unit, steps));
  }

  private async add(unit: Unit, steps: readonly RowStep[]): Promise<void> {
    const sums = new SummedDeltas(this.instance, this.rows.shape(this.entity));
    for (const step of steps) handlingEvent(step.consumed, () => sums.apply(step));
    const deltas = sums.deltas();
    if (deltas.length > 0) await this.rows.add(unit, this.entity, deltas);
  }

  private async fold(unit: Unit, steps: readonly RowStep[]): Promise<void> {
    const { instance, entity, rows } = this;
    const keys = new Map<string, KeyValues>();
    for (const step of steps) for (const { id, values } of step.keys) keys.set(id, values);
    if (keys.size === 0) return;
    const loaded = await rows.load(unit, entity, [...keys.values()]);
    const fold = new RowFold({ instance, entity, rows, shape: rows.shape(entity) }, loaded);
    for (const step of steps) handlingEvent(step.consumed, () => fold.apply(step));
    const changes = fold.changes();
    if (changes.inserts.length + changes.updates.length + changes.deletes.length > 0) await rows.write(unit, entity, changes);
  }
}
