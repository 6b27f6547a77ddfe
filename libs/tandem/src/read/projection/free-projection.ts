import { EventFailure, type ConsumedEvent } from '../../events/consumer.js';
import type { OnMark } from '../../events/on.js';
import { inTime } from '../../kernel/in-time.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { callMarked, type DeclaredProjection, handlingEvent, marksByType } from './projection-marks.js';
import type { RowStore } from './row-store.js';

/** Handles the batches of one free projection: its methods get `(event, metadata, manager)`, one event after the other. */
export class FreeProjection {
  private readonly marks: ReadonlyMap<string, readonly OnMark[]>;

  constructor(
    private readonly projection: DeclaredProjection,
    private readonly rows: RowStore,
  ) {
    this.marks = marksByType(projection.marks);
  }

  async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    const { handlerTimeoutMs, instance } = this.projection;
    const manager = this.rows.manager(unit);
    for (const consumed of events) {
      for (const mark of this.marks.get(consumed.metadata.type) ?? []) {
        try {
          const returned = handlingEvent(consumed, () => callMarked(instance, mark, [consumed.event, consumed.metadata, manager]));
          await inTime(returned, handlerTimeoutMs, `${instance.constructor.name}.${mark.method}`);
        } catch (cause) {
          throw cause instanceof EventFailure ? cause : new EventFailure(consumed.stored, cause);
        }
      }
    }
  }
}
