import { Big } from 'big.js';
import { TandemError } from '../../kernel/errors.js';
import { rowId, type RowDelta } from '../../read/projection/row-store.js';
import type { RowColumn } from './row-column.js';
import type { RowPlan } from './row-plan.js';
import { automatic, chunks, givenRows, insertValues, type Params, type RowSql, type Tuple } from './row-sql.js';
import { assignment, newTuple, updateJoined } from './row-write.js';

/** Adds to many rows, in the order of their keys: two batches that add to the same rows take the locks in one order. */
export async function addToRows(plan: RowPlan, sql: RowSql, deltas: readonly RowDelta[]): Promise<void> {
  const columns = [...new Set(deltas.flatMap((delta) => [...delta.add.keys()]))].map((path) => plan.column(path));
  for (const column of columns) for (const delta of deltas) checkAmount(plan, column, delta.add.get(column.path));
  const sorted = deltas.map((delta) => ({ ...delta, id: rowId(plan.shape, delta.key) })).sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const part of chunks(sorted, (delta) => [...plan.shape.keys, ...plan.columns, ...columns].map(() => delta.id))) {
    await (startsAtZero(plan, columns, part) ? upsert(plan, sql, columns, part) : insertThenUpdate(plan, sql, columns, part));
  }
}

/** Rounding each sum to the column's places would make the total depend on how events fall into batches. */
function checkAmount(plan: RowPlan, column: RowColumn, amount: string | undefined): void {
  const where = `${plan.entityName}.${column.path}`;
  if (column.kind === 'other' || column.kind === 'text' || column.metadata.transformer) {
    throw new TandemError('TANDEM_WIRING', `${where} is no number column, so nothing can be added to it`, { next: 'Correct the column that the handler adds to.' });
  }
  if (amount === undefined || column.scale === undefined) return;
  if (new Big(amount).round(column.scale, 0).eq(amount)) return;
  throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${amount} was added to ${where}, which keeps ${column.scale} decimal places`, {
    next: 'Round the amount in the handler, or give the column more places.',
  });
}

/** Then the amount itself is the new row's value, and one statement does: nothing else can be in its way. */
function startsAtZero(plan: RowPlan, columns: readonly RowColumn[], [any]: readonly RowDelta[]): boolean {
  if (plan.constrained) return false;
  const fresh = plan.fresh(any!.key);
  return columns.every((column) => Number(column.metadata.getEntityValue(fresh) ?? 0) === 0);
}

async function upsert(plan: RowPlan, sql: RowSql, columns: readonly RowColumn[], deltas: readonly RowDelta[]): Promise<void> {
  const mysql = plan.dialect === 'mysql';
  const added = (column: RowColumn) => (mysql ? `VALUES(${column.name})` : `excluded.${column.name}`);
  const own = (column: RowColumn) => (mysql ? column.name : `t.${column.name}`);
  const sets = columns.map((column) => `${column.name} = ${sum(own(column), added(column))}`);
  sets.push(...automatic(plan, new Set(columns), (column, value) => `${column.name} = ${mysql ? value.replace('t.', '') : value}`));
  const onConflict = mysql ? 'ON DUPLICATE KEY UPDATE' : `ON CONFLICT (${plan.keys.map(({ name }) => name).join(', ')}) DO UPDATE SET`;
  await sql.change((params) => {
    const values = insertValues(
      [...plan.keys, ...plan.insertable],
      deltas.map((delta) => startingTuple(plan, columns, delta)),
      params,
    );
    return `INSERT INTO ${plan.table} ${mysql ? '' : 'AS t '}${values} ${onConflict} ${sets.join(', ')}`;
  });
}

/** A column that holds nothing begins at 0; one that this event leaves alone keeps holding nothing. */
const sum = (own: string, added: string): string => `COALESCE(${own} + ${added}, ${own}, ${added})`;

function startingTuple(plan: RowPlan, columns: readonly RowColumn[], { key, add }: RowDelta): Tuple {
  const row = plan.fresh(key);
  for (const column of columns) {
    const start = column.metadata.getEntityValue(row) as string | number | null | undefined;
    column.metadata.setEntityValue(row, add.get(column.path) ?? start ?? (column.metadata.isNullable ? null : 0));
  }
  return newTuple(plan, { key, row });
}

/** First the missing rows at their defaults, leaving existing ones as they are; then the sums, by key. */
async function insertThenUpdate(plan: RowPlan, sql: RowSql, columns: readonly RowColumn[], deltas: readonly RowDelta[]): Promise<void> {
  const [{ name }] = plan.keys as [RowColumn];
  const leave = plan.dialect === 'mysql' ? `ON DUPLICATE KEY UPDATE ${name} = ${plan.table}.${name}` : `ON CONFLICT (${plan.keys.map((key) => key.name).join(', ')}) DO NOTHING`;
  await sql.change((params) => {
    const tuples = deltas.map(({ key }) => startingTuple(plan, columns, { key, add: new Map() }));
    return `INSERT INTO ${plan.table} ${insertValues([...plan.keys, ...plan.insertable], tuples, params)} ${leave}`;
  });
  const found = await sql.change((params) => adding(plan, columns, deltas, params));
  if (found >= deltas.length) return;
  throw new TandemError('TANDEM_PAYLOAD_REFUSED', `A new row of ${plan.entityName} was refused: its defaults are those of another row under a second UNIQUE`, {
    next: 'A row that deltas make holds its key and defaults only: take the UNIQUE away, or make the rows with @On.',
  });
}

function adding(plan: RowPlan, columns: readonly RowColumn[], deltas: readonly RowDelta[], params: Params): string {
  const tuples = deltas.map(({ key, add }) => [...plan.keyParams(key), ...columns.map((column) => add.get(column.path) ?? null)]);
  const first = plan.keys.length;
  const sets = columns.map((column, i) => assignment(plan, column, sum(`t.${column.name}`, exactly(plan, column, `v.c${first + i}`))));
  sets.push(...automatic(plan, new Set(columns), (column, value) => assignment(plan, column, value)));
  return updateJoined(plan, givenRows(plan, [...plan.keys, ...columns], tuples, params), sets);
}

/** To MySQL the given rows hold text, and a number plus text is a floating point number. */
function exactly(plan: RowPlan, column: RowColumn, value: string): string {
  return plan.dialect === 'mysql' && column.kind !== 'float' ? `CAST(${value} AS DECIMAL(65, ${column.scale ?? 0}))` : value;
}
