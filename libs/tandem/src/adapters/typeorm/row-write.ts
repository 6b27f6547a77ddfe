import { OptimisticConcurrencyError } from '../../kernel/errors.js';
import type { RowChange, RowChanges } from '../../read/projection/row-store.js';
import { fingerprint, type RowColumn } from './row-column.js';
import type { RowPlan } from './row-plan.js';
import { automatic, chunks, givenRows, insertValues, onKeys, type Params, type RowSql, type Tuple } from './row-sql.js';

/** What rows were written as when they were loaded; column by column, in the order of `plan.columns`. */
export type LoadedValues = WeakMap<object, readonly unknown[]>;

export const valuesOf = (plan: RowPlan, row: object): readonly unknown[] => plan.columns.map((column) => fingerprint(column.write(row)));

/** @throws OptimisticConcurrencyError when somebody else deleted a row meanwhile; the driver's error for a duplicate key and the like. */
export async function writeRows(plan: RowPlan, sql: RowSql, changes: RowChanges, loaded: LoadedValues): Promise<void> {
  await deleteRows(plan, sql, changes.deletes);
  const updates = changes.updates.map((change) => changedValues(plan, change, loaded)).filter(({ changed }) => changed.size > 0);
  for (const part of chunks(updates, ({ key, values }) => [...key, ...values])) {
    const found = await sql.change((params) => updating(plan, part, params));
    if (found < part.length) throw new OptimisticConcurrencyError(`A row of ${plan.entityName}`);
  }
  const columns = [...plan.keys, ...plan.insertable];
  for (const part of chunks(
    changes.inserts.map((change) => newTuple(plan, change)),
    (tuple) => tuple,
  )) {
    await sql.change((params) => `INSERT INTO ${plan.table} ${insertValues(columns, part, params)}`);
  }
}

/** A new row's values for the keys and the insertable columns. */
export function newTuple(plan: RowPlan, { key, row }: RowChange): Tuple {
  const values = plan.insertable.map((column) => {
    const value = column.write(row);
    return value === undefined && column.metadata.isVersion ? 1 : value;
  });
  return [...plan.keyParams(key), ...values];
}

async function deleteRows(plan: RowPlan, sql: RowSql, deletes: readonly RowChange[]): Promise<void> {
  for (const part of chunks(
    deletes.map(({ key }) => plan.keyParams(key)),
    (tuple) => tuple,
  )) {
    await sql.change((params) => {
      const given = givenRows(plan, plan.keys, part, params);
      // MariaDB scans the whole table for a long IN; it does not for a join
      if (plan.dialect === 'mysql') return `DELETE t FROM ${given} STRAIGHT_JOIN ${plan.table} t ON ${onKeys(plan)}`;
      return `DELETE FROM ${plan.table} t USING ${given} WHERE ${onKeys(plan)}`;
    });
  }
}

interface ChangedRow {
  readonly key: Tuple;
  readonly values: Tuple;
  readonly changed: ReadonlySet<RowColumn>;
}

function changedValues(plan: RowPlan, { key, row }: RowChange, loaded: LoadedValues): ChangedRow {
  const before = loaded.get(row);
  const values = plan.columns.map((column) => column.write(row));
  const changed = plan.columns.filter((column, i) => column.metadata.isUpdate && values[i] !== undefined && (!before || fingerprint(values[i]) !== before[i]));
  return { key: plan.keyParams(key), values, changed: new Set(changed) };
}

/**
 * One UPDATE for many rows, over the columns that any of them changed. A row that did not change such a column writes back what
 * was loaded where that is exact, and is told by a flag to leave it where it is not.
 */
function updating(plan: RowPlan, rows: readonly ChangedRow[], params: Params): string {
  const columns = plan.columns.filter((column) => rows.some(({ changed }) => changed.has(column)));
  const places = columns.map((column) => plan.columns.indexOf(column));
  const flagged = columns.filter((column, i) => rows.some(({ changed, values }) => !changed.has(column) && (!column.exact || values[places[i]!] === undefined)));
  const tuples = rows.map(({ key, values, changed }) => [...key, ...places.map((place) => values[place]), ...flagged.map((column) => (changed.has(column) ? 1 : 0))]);
  const given = givenRows(plan, [...plan.keys, ...columns], tuples, params, flagged.length);
  const first = plan.keys.length;
  const sets = columns.map((column, i) => {
    const flag = flagged.indexOf(column);
    const value = `v.c${first + i}`;
    return assignment(plan, column, flag < 0 ? value : `CASE WHEN v.c${first + columns.length + flag} = 1 THEN ${value} ELSE t.${column.name} END`);
  });
  return updateJoined(plan, given, [...sets, ...automatic(plan, new Set(columns), (column, value) => assignment(plan, column, value))]);
}

export const assignment = (plan: RowPlan, column: RowColumn, value: string): string => `${plan.dialect === 'mysql' ? 't.' : ''}${column.name} = ${value}`;

/** Updates the rows whose keys are given, and no other: no INSERT, so no second UNIQUE can lead to somebody else's row. */
export function updateJoined(plan: RowPlan, given: string, sets: readonly string[]): string {
  if (plan.dialect === 'mysql') return `UPDATE ${given} STRAIGHT_JOIN ${plan.table} t ON ${onKeys(plan)} SET ${sets.join(', ')}`;
  return `UPDATE ${plan.table} t SET ${sets.join(', ')} FROM ${given} WHERE ${onKeys(plan)}`;
}
