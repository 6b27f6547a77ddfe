/**
 * Registration. Lock order: the meta row (so one process registers at a time), the shards, consumers, checkpoints: that of a
 * command which folds an `immediate()` projection, so neither waits for the other in a circle.
 */
import type { ConsumerRegistration } from '../../events/consumer-store.js';
import { TandemError } from '../../kernel/errors.js';
import { expressionsOf } from './dialect.js';
import { refuseRenamed, type Registered, renameConsumer } from './rename-consumer.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

export async function registerConsumers(sql: Sql, registrations: readonly ConsumerRegistration[], tables: TableNames): Promise<void> {
  await sql.query(`SELECT value FROM ${tables.meta} WHERE name = 'schema_version' FOR UPDATE`);
  const names = registrations.flatMap(({ name, renamedFrom }) => (renamedFrom === undefined ? [name] : [name, renamedFrom]));
  const rows = await sql.query<Registered[]>(`SELECT name, kind, types, version, state, state_reason FROM ${tables.consumer} WHERE name IN (?)`, [names]);
  const known = new Map(rows.map((row) => [row.name, row]));
  for (const registration of registrations) {
    refuseRenamed(registration, known);
    const row = await renameConsumer(sql, registration, known, tables);
    if (row) known.set(registration.name, row);
  }
  const fresh = registrations.filter(({ name }) => !known.has(name));
  // One moment for all shards: without the locks a cause could count as before "now" and be missed, its effect as after.
  if (fresh.some(({ startFrom }) => startFrom === 'now')) await sql.query(`SELECT shard FROM ${tables.shard} ORDER BY shard FOR UPDATE`);
  for (const registration of registrations) {
    const row = known.get(registration.name);
    if (row) await widen(sql, row, registration, tables);
    else await insert(sql, registration, tables);
  }
}

async function insert(sql: Sql, { name, kind, types, version, startFrom }: ConsumerRegistration, tables: TableNames): Promise<void> {
  const { now } = expressionsOf(sql.dialect);
  await sql.query(
    `INSERT INTO ${tables.consumer} (name, kind, live_generation, live_version, last_generation, state, types, version, created_at, updated_at) VALUES (?, ?, 1, ?, 1, 'running', ?, ?, ${now}, ${now})`,
    [name, kind, version, typesText(types), version],
  );
  const insertCheckpoints = `INSERT INTO ${tables.checkpoint} (consumer, generation, shard, seq, event_id)`;
  if (startFrom === 'beginning') await sql.query(`${insertCheckpoints} SELECT ?, 1, shard, 0, NULL FROM ${tables.shard}`, [name]);
  else
    await sql.query(`${insertCheckpoints} SELECT ?, 1, s.shard, s.head, e.event_id FROM ${tables.shard} s LEFT JOIN ${tables.event} e ON e.shard = s.shard AND e.seq = s.head`, [
      name,
    ]);
}

async function widen(sql: Sql, row: Registered, registration: ConsumerRegistration, tables: TableNames): Promise<void> {
  const { name, kind } = registration;
  if (row.kind !== kind)
    throw new TandemError('TANDEM_WIRING', `"${name}" is registered as a ${row.kind}, but the code declares it as a ${kind}`, { next: 'Give one of the two another name.' });
  const before = JSON.parse(row.types) as string[];
  const retired = new Set(registration.retiredTypes);
  const types = typesText([...before.filter((type) => !retired.has(type)), ...registration.types]);
  const version = Math.max(row.version, registration.version);
  if (types === row.types && version === row.version) return;
  await sql.query(`UPDATE ${tables.consumer} SET types = ?, version = ?, updated_at = ${expressionsOf(sql.dialect).now} WHERE name = ?`, [types, version, name]);
  // Lets running batches of older code end: they know the old types only, and nobody writes a new one before this commits.
  await sql.query(`SELECT shard FROM ${tables.checkpoint} WHERE consumer = ? ORDER BY generation, shard FOR UPDATE`, [name]);
}

const typesText = (types: readonly string[]): string => JSON.stringify([...new Set(types)].sort());
