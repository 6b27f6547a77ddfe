import type { Type } from '@nestjs/common';
import { EventFailure, type ConsumedEvent } from '../../events/consumer.js';
import type { OnMark } from '../../events/on.js';
import { inTime } from '../../kernel/in-time.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { callMarked, type DeclaredProjection, handlingEvent, marksByType } from './projection-marks.js';
import type { RowStore } from './row-store.js';

/** The fourth thing that a free projection's method is given. */
export interface ProjectionContext {
  /**
   * The name of an entity's table for SQL of your own, quoted and with its schema. While the projection is rebuilt it is the table
   * that the new rows go to; written into a statement by hand, the entity's own name would lead to the rows that are served.
   * @throws TANDEM_WIRING for an entity that is not one of the projection's `tables`.
   */
  table(entity: Type): string;
}

/** Handles the batches of one free projection: its methods get `(event, metadata, manager, context)`, one event after the other. */
export class FreeProjection {
  private readonly marks: ReadonlyMap<string, readonly OnMark[]>;
  private readonly context: ProjectionContext;

  constructor(
    private readonly projection: DeclaredProjection,
    private readonly rows: RowStore,
  ) {
    this.marks = marksByType(projection.marks);
    this.context = { table: (entity) => rows.table(entity) };
  }

  async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    const { handlerTimeoutMs, instance } = this.projection;
    const manager = this.rows.manager(unit);
    for (const consumed of events) {
      for (const mark of this.marks.get(consumed.metadata.type) ?? []) {
        try {
          const returned = handlingEvent(consumed, () => callMarked(instance, mark, [consumed.event, consumed.metadata, manager, this.context]));
          await inTime(returned, handlerTimeoutMs, `${instance.constructor.name}.${mark.method}`);
        } catch (cause) {
          throw cause instanceof EventFailure ? cause : new EventFailure(consumed.stored, cause);
        }
      }
    }
  }
}
