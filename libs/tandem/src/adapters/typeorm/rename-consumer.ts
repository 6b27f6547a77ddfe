import type { ConsumerRegistration } from '../../events/consumer-store.js';
import { TandemError } from '../../kernel/errors.js';
import { expressionsOf } from './dialect.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/** What is registered under a name. */
export interface Registered {
  readonly name: string;
  readonly kind: string;
  readonly types: string;
  readonly version: number;
  readonly state: string;
  readonly state_reason: string | null;
}

/** State of the row that is left under the old name, so that older code does not begin anew there. Its reason is the new name. */
export const RENAMED = 'renamed';

/** Gives a consumer that is registered under its old name the new one; batches that run come to their end first. Returns its row, where there was anything to rename. */
export async function renameConsumer(
  sql: Sql,
  { kind, name, renamedFrom }: ConsumerRegistration,
  known: ReadonlyMap<string, Registered>,
  tables: TableNames,
): Promise<Registered | undefined> {
  const old = renamedFrom === undefined ? undefined : known.get(renamedFrom);
  if (!old || old.state === RENAMED) return undefined;
  if (known.has(name)) {
    throw new TandemError('TANDEM_WIRING', `"${name}" was renamed from "${old.name}", but both are registered, each with checkpoints of its own`, {
      next: `Leave \`renamedFrom\` out, and say \`retired: { consumers: ['${old.name}'] }\` when no code with the old name runs any more.`,
    });
  }
  if (old.kind !== kind) throw new TandemError('TANDEM_WIRING', `"${name}" is a ${kind}, but "${old.name}", from which it was renamed, is registered as a ${old.kind}`);
  const { checkpoint, consumer, deadLetter, rebuild } = tables;
  const [rebuilding] = await sql.query<{ consumer: string }[]>(`SELECT consumer FROM ${rebuild} WHERE consumer = ?`, [old.name]);
  if (rebuilding) throw new TandemError('TANDEM_WIRING', `"${old.name}" cannot be renamed to "${name}" while it is rebuilt`, { next: 'Let the rebuild end, or cancel it.' });
  const { now } = expressionsOf(sql.dialect);
  await sql.query(`UPDATE ${consumer} SET name = ?, updated_at = ${now} WHERE name = ?`, [name, old.name]);
  for (const table of [checkpoint, deadLetter]) await sql.query(`UPDATE ${table} SET consumer = ? WHERE consumer = ?`, [name, old.name]);
  await sql.query(
    `INSERT INTO ${consumer} (name, kind, live_generation, live_version, last_generation, state, state_reason, types, version, created_at, updated_at)
     VALUES (?, ?, 1, 1, 1, '${RENAMED}', ?, '[]', 1, ${now}, ${now})`,
    [old.name, kind, name],
  );
  return { ...old, name };
}

/** @throws TANDEM_WIRING for code that declares the old name. */
export function refuseRenamed({ name }: ConsumerRegistration, known: ReadonlyMap<string, Registered>): void {
  const row = known.get(name);
  if (row?.state !== RENAMED) return;
  throw new TandemError('TANDEM_WIRING', `"${name}" was renamed to "${row.state_reason}": this is older code, or something new under an old name`, {
    next: 'Start the newer code, or choose a name that was never used.',
  });
}
