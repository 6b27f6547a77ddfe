import { TandemError } from '../../kernel/errors.js';
import { rowId, type KeyValues } from '../../read/projection/row-store.js';
import type { RowPlan } from './row-plan.js';
import { chunks, givenRows, onKeys, type Params, type RowSql, type Tuple } from './row-sql.js';

/** The rows that exist among these keys, by row id. */
export async function loadRows(plan: RowPlan, sql: RowSql, keys: readonly KeyValues[]): Promise<Map<string, object>> {
  const asked = new Set(keys.map((key) => rowId(plan.shape, key)));
  const found = new Map<string, object>();
  for (const part of chunks(
    keys.map((key) => plan.keyParams(key)),
    (tuple) => tuple,
  )) {
    for (const row of await sql.rows((params) => selection(plan, part, params))) {
      const entity = plan.hydrate(row);
      const id = plan.idOf(entity);
      if (!asked.has(id)) throw sameToTheDatabase(plan, id);
      found.set(id, entity);
    }
  }
  return found;
}

function selection(plan: RowPlan, keys: readonly Tuple[], params: Params): string {
  const columns = plan.loaded.map(({ name }) => `t.${name}`).join(', ');
  const [only, ...more] = plan.keys;
  if (more.length === 0) return `SELECT ${columns} FROM ${plan.table} t WHERE t.${only!.name} IN (${params.list(keys.map((key) => key[0]))})`;
  const join = plan.dialect === 'mysql' ? 'STRAIGHT_JOIN' : 'JOIN';
  return `SELECT ${columns} FROM ${givenRows(plan, plan.keys, keys, params)} ${join} ${plan.table} t ON ${onKeys(plan)}`;
}

/** E.g. `fr` and `FR` under a collation that ignores case: two rows to us, one to the database. */
const sameToTheDatabase = (plan: RowPlan, id: string): TandemError =>
  new TandemError('TANDEM_PAYLOAD_REFUSED', `${plan.entityName} was asked for a key that its table takes for ${id}, though it is spelt otherwise`, {
    next: 'Spell keys alike in the handler, or give the key column an exact collation (ascii_bin, utf8mb4_bin).',
  });
