/** The SQL of a swap that both dialects share. Each function runs inside a transaction of its caller's. */
import type { Rebuild } from '../../read/projection/rebuild/rebuild-store.js';
import { expressionsOf } from './dialect.js';
import type { Sql } from './driver-link.js';
import type { TableNames } from './table-names.js';

/** Everything that both generations have locked goes by this lock order, so that batches end first, and none begins. False when there is nothing (more) to swap. */
export async function freeze(sql: Sql, { consumer, generation, liveGeneration }: Rebuild, tables: TableNames): Promise<boolean> {
  const [row] = await sql.query<{ state: string }[]>(`SELECT state FROM ${tables.consumer} WHERE name = ? AND live_generation = ? FOR UPDATE`, [consumer, liveGeneration]);
  const [rebuild] = await sql.query<{ state: string }[]>(`SELECT state FROM ${tables.rebuild} WHERE consumer = ? AND generation = ? FOR UPDATE`, [consumer, generation]);
  if (row?.state === 'swapping' && rebuild?.state === 'swapping') return true;
  if (!row || rebuild?.state !== 'filling') return false;
  const { now } = expressionsOf(sql.dialect);
  await sql.query(`UPDATE ${tables.consumer} SET state = 'swapping', updated_at = ${now} WHERE name = ?`, [consumer]);
  await sql.query(`UPDATE ${tables.rebuild} SET state = 'swapping', state_before = ?, updated_at = ${now} WHERE consumer = ? AND generation = ?`, [
    row.state,
    consumer,
    generation,
  ]);
  await sql.query(`SELECT shard FROM ${tables.checkpoint} WHERE consumer = ? AND generation IN (?) ORDER BY generation, shard FOR UPDATE`, [
    consumer,
    [liveGeneration, generation],
  ]);
  return true;
}

/** The live generation goes on. */
export async function unfreeze(sql: Sql, { consumer, generation }: Rebuild, tables: TableNames): Promise<void> {
  const { now } = expressionsOf(sql.dialect);
  await sql.query(`SELECT name FROM ${tables.consumer} WHERE name = ? FOR UPDATE`, [consumer]);
  const [rebuild] = await sql.query<{ state_before: string }[]>(
    `SELECT state_before FROM ${tables.rebuild} WHERE consumer = ? AND generation = ? AND state = 'swapping' FOR UPDATE`,
    [consumer, generation],
  );
  if (!rebuild) return;
  await sql.query(`UPDATE ${tables.consumer} SET state = ?, updated_at = ${now} WHERE name = ? AND state = 'swapping'`, [rebuild.state_before, consumer]);
  await sql.query(`UPDATE ${tables.rebuild} SET state = 'filling', updated_at = ${now} WHERE consumer = ? AND generation = ?`, [consumer, generation]);
}

/** Step (d). One that an operator had paused stays paused; one that had halted runs: what it halted at is behind it, or held in the new generation. */
export async function makeLive(sql: Sql, { consumer, generation, version }: Rebuild, tables: TableNames): Promise<void> {
  const { now } = expressionsOf(sql.dialect);
  const [rebuild] = await sql.query<{ state_before: string }[]>(`SELECT state_before FROM ${tables.rebuild} WHERE consumer = ? AND generation = ? AND state = 'swapping'`, [
    consumer,
    generation,
  ]);
  if (!rebuild) return;
  const paused = rebuild.state_before === 'paused';
  await sql.query(
    `UPDATE ${tables.consumer} SET live_generation = ?, live_version = ?, state = ?${paused ? '' : ', state_reason = NULL'}, updated_at = ${now} WHERE name = ? AND state = 'swapping'`,
    [generation, version, paused ? 'paused' : 'running', consumer],
  );
  await sql.query(`UPDATE ${tables.rebuild} SET state = 'swapped', updated_at = ${now} WHERE consumer = ? AND generation = ?`, [consumer, generation]);
}

/** Locks the rebuilt generation's checkpoints. True where all of them are at the live ones or beyond: those stand still. */
export async function lockCaughtUp(sql: Sql, { consumer, generation, liveGeneration }: Rebuild, { checkpoint }: TableNames): Promise<boolean> {
  await sql.query(`SELECT shard FROM ${checkpoint} WHERE consumer = ? AND generation = ? ORDER BY shard FOR UPDATE`, [consumer, generation]);
  const rows = await sql.query<unknown[]>(
    `SELECT o.shard FROM ${checkpoint} o JOIN ${checkpoint} n ON n.consumer = o.consumer AND n.shard = o.shard AND n.generation = ? AND n.seq < o.seq WHERE o.consumer = ? AND o.generation = ?`,
    [generation, consumer, liveGeneration],
  );
  return rows.length === 0;
}
