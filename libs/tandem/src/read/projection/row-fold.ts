import type { Type } from '@nestjs/common';
import { TandemError } from '../../kernel/errors.js';
import { callMarked, refusePromise } from './projection-marks.js';
import { RowAddition } from './row-addition.js';
import type { NamedKey } from './row-key.js';
import type { RowStep } from './row-steps.js';
import type { RowChange, RowChanges, RowShape, RowStore } from './row-store.js';

interface RowState {
  readonly key: NamedKey;
  /** As it is in the database. */
  readonly stored: object | undefined;
  /** As the methods left it; undefined when there is none (any more). */
  row: object | undefined;
}

/** Which rows a fold works on. */
export interface FoldTarget {
  readonly instance: object;
  readonly entity: Type;
  readonly shape: RowShape;
  readonly rows: RowStore;
}

/** Applies the steps of a batch, in order, to rows held in memory, and tells what has to be written. */
export class RowFold {
  private readonly states = new Map<string, RowState>();

  constructor(
    private readonly target: FoldTarget,
    private readonly loaded: ReadonlyMap<string, object>,
  ) {}

  /** @throws TANDEM_ROW_MISSING, TANDEM_WIRING for a method that returns a promise or changes the key, and what the method throws. */
  apply(step: RowStep): void {
    for (const key of step.keys) {
      const stored = this.loaded.get(key.id);
      const state = this.states.get(key.id) ?? { key, stored, row: stored };
      const row = state.row ?? this.missing(step, key);
      if (!row) continue;
      this.call(step, key, row);
      state.row = step.mark.options.delete === true ? undefined : row;
      this.states.set(key.id, state);
    }
  }

  /** A row that was deleted and made anew goes twice: its old values must not survive in columns that nobody set. */
  changes(): RowChanges {
    const inserts: RowChange[] = [];
    const updates: RowChange[] = [];
    const deletes: RowChange[] = [];
    for (const { key, stored, row } of this.states.values()) {
      if (stored && stored === row) updates.push({ key: key.values, row });
      else {
        if (stored) deletes.push({ key: key.values, row: stored });
        if (row) inserts.push({ key: key.values, row });
      }
    }
    return { inserts, updates, deletes };
  }

  private missing({ mark }: RowStep, key: NamedKey): object | undefined {
    const { entity, rows } = this.target;
    const whenMissing = mark.options.whenMissing ?? 'create';
    if (whenMissing === 'ignore') return undefined;
    if (whenMissing === 'create') return rows.fresh(entity, key.values);
    throw new TandemError('TANDEM_ROW_MISSING', `${entity.name} has no row ${key.id}, and ${mark.method} has whenMissing 'fail'`);
  }

  private call({ mark, consumed: { event, metadata } }: RowStep, key: NamedKey, row: object): void {
    const { instance, shape } = this.target;
    const given = mark.kind === 'delta' ? new RowAddition<object>(row, shape) : row;
    refusePromise(callMarked(instance, mark, [given, event, metadata]), instance, mark);
    for (const name of shape.keys) {
      const left = (row as Record<string, unknown>)[name];
      if (String(left) !== String(key.values[name])) throw new TandemError('TANDEM_WIRING', `${instance.constructor.name}.${mark.method} changed ${name}, which is the row's key`);
    }
  }
}
