import { EventFailure, type ConsumedEvent } from '../../events/consumer.js';
import type { OnMark } from '../../events/on.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { callMarked, handlingEvent, marksByType } from './projection-marks.js';
import type { RowStore } from './row-store.js';

/** Handles the batches of one free projection: its methods get `(event, metadata, manager)`, one event after the other. */
export class FreeProjection {
  private readonly marks: ReadonlyMap<string, readonly OnMark[]>;

  constructor(
    private readonly instance: object,
    marks: readonly OnMark[],
    private readonly rows: RowStore,
  ) {
    this.marks = marksByType(marks);
  }

  async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    const manager = this.rows.manager(unit);
    for (const consumed of events) {
      for (const mark of this.marks.get(consumed.metadata.type) ?? []) {
        try {
          await handlingEvent(consumed, () => callMarked(this.instance, mark, [consumed.event, consumed.metadata, manager]));
        } catch (cause) {
          throw cause instanceof EventFailure ? cause : new EventFailure(consumed.stored, cause);
        }
      }
    }
  }
}
