import type { QueryRunner } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import type { RowColumn } from './row-column.js';
import type { RowPlan } from './row-plan.js';
import { managerOf, type Dialect } from './sql.js';

/** Rows in one statement, at most: a MySQL packet and PostgreSQL's 65,535 parameters leave room for them. */
const ROWS = 500;
const PARAMETERS = 20_000;
const CHARACTERS = 2_000_000;

/** The values of one row, in the order of its columns. Undefined stands for DEFAULT, in an INSERT. */
export type Tuple = readonly unknown[];

/**
 * Statements on read entities go through TypeORM's runner and not through `Sql`: times and big numbers must be written in the
 * same way in which the application's repositories read them, whatever its data source is set to.
 */
export class RowSql {
  private readonly runner: QueryRunner;

  constructor(
    unit: Unit,
    private readonly dialect: Dialect,
  ) {
    this.runner = managerOf(unit).queryRunner!;
  }

  async rows(statement: (params: Params) => string): Promise<readonly Record<string, unknown>[]> {
    return (await this.send(statement)).records as Record<string, unknown>[];
  }

  /** Answers how many rows the statement found. */
  async change(statement: (params: Params) => string): Promise<number> {
    return (await this.send(statement)).affected ?? 0;
  }

  private send(statement: (params: Params) => string) {
    const params = new Params(this.dialect);
    const text = statement(params);
    return this.runner.query(text, params.values as unknown[], true);
  }
}

/** Collects parameters while a statement is written. */
export class Params {
  readonly values: unknown[] = [];

  constructor(readonly dialect: Dialect) {}

  /** The placeholder of a value. @throws TANDEM_PAYLOAD_REFUSED for an object that mysql2 would turn into SQL of its own. */
  add(value: unknown): string {
    const simple = typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array;
    if (!simple && this.dialect === 'mysql')
      throw new TandemError('TANDEM_PAYLOAD_REFUSED', 'A row holds an object where its column takes a simple value', { next: 'Give the column a json type or a transformer.' });
    this.values.push(typeof value === 'bigint' ? value.toString() : value);
    return this.dialect === 'mysql' ? '?' : `$${this.values.length}`;
  }

  list(values: Tuple): string {
    return values.map((value) => this.add(value)).join(', ');
  }
}

/** Splits rows so that each part fits into one statement. */
export function* chunks<T>(rows: readonly T[], tupleOf: (row: T) => Tuple): Generator<readonly T[]> {
  let part: T[] = [];
  let parameters = 0;
  let characters = 0;
  for (const row of rows) {
    const tuple = tupleOf(row);
    const size = tuple.reduce<number>((sum, value) => sum + (typeof value === 'string' || value instanceof Uint8Array ? value.length : 8), 0);
    if (part.length > 0 && (part.length >= ROWS || parameters + tuple.length > PARAMETERS || characters + size > CHARACTERS)) {
      yield part;
      part = [];
      parameters = characters = 0;
    }
    part.push(row);
    parameters += tuple.length;
    characters += size;
  }
  if (part.length > 0) yield part;
}

/**
 * A table `v` of given rows, to join with: columns `c0`, `c1`, … of the same types and collations as the table's own (its first
 * row is an empty selection of them), so that the join finds the primary key's index; then `flags` columns of 0 or 1.
 */
export function givenRows(plan: RowPlan, columns: readonly RowColumn[], tuples: readonly Tuple[], params: Params, flags = 0): string {
  const flagged = Array.from({ length: flags }, () => '0');
  if (plan.dialect === 'postgres') {
    const types = [...columns.map(({ name }) => `(NULL::${plan.table}).${name}`), ...flagged];
    return `(VALUES (${types.join(', ')}), ${tuples.map((tuple) => `(${params.list(tuple)})`).join(', ')}) v (${types.map((_, i) => `c${i}`).join(', ')})`;
  }
  const first = [...columns.map(({ name }) => name), ...flagged].map((column, i) => `${column} AS c${i}`);
  const rows = tuples.map((tuple) => `UNION ALL SELECT ${tuple.map((value, i) => mysqlValue(plan, columns[i], params.add(value))).join(', ')}`);
  return `(SELECT ${first.join(', ')} FROM ${plan.table} WHERE FALSE ${rows.join(' ')}) v`;
}

/** Text and a whole number would meet as floating point numbers, without the index. */
function mysqlValue(plan: RowPlan, column: RowColumn | undefined, placeholder: string): string {
  if (!column || !plan.keys.includes(column)) return placeholder;
  if (column.kind === 'integer' || column.kind === 'bigint') return `CAST(${placeholder} AS ${column.metadata.unsigned ? 'UNSIGNED' : 'SIGNED'})`;
  return column.kind === 'decimal' ? `CAST(${placeholder} AS DECIMAL(65, ${column.scale ?? 0}))` : placeholder;
}

/** `t.id = v.c0 AND …`: the keys are the first columns of the given rows. */
export const onKeys = (plan: RowPlan): string => plan.keys.map(({ name }, i) => `t.${name} = v.c${i}`).join(' AND ');

/** `(a, b) VALUES (…), (…)`. */
export function insertValues(columns: readonly RowColumn[], tuples: readonly Tuple[], params: Params): string {
  const rows = tuples.map((tuple) => `(${tuple.map((value) => (value === undefined ? 'DEFAULT' : params.add(value))).join(', ')})`);
  return `(${columns.map(({ name }) => name).join(', ')}) VALUES ${rows.join(', ')}`;
}

/** What TypeORM's own updates do besides: version and update date. */
export function automatic(plan: RowPlan, changed: ReadonlySet<RowColumn>, set: (column: RowColumn, value: string) => string): string[] {
  return plan.columns
    .filter((column) => (column.metadata.isVersion || column.metadata.isUpdateDate) && !changed.has(column))
    .map((column) => set(column, column.metadata.isVersion ? `t.${column.name} + 1` : `CURRENT_TIMESTAMP(${column.metadata.precision ?? 6})`));
}
