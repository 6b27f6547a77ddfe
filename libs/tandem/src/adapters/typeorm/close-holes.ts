import type { DataSource } from 'typeorm';
import type { StoredEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import { expressionsOf } from './dialect.js';
import { insertEvents } from './insert-events.js';
import { sqlTransaction } from './sql.js';
import type { TableNames } from './table-names.js';

/** Longer than any hole that one append can leave. */
const LOOK_BACK = 100_000;

/**
 * MySQL only. When a transaction had ended unnoticed before its append, raising the head was committed by itself: those numbers
 * stay taken, and readers would wait at the hole for ever. Events of a type that nobody subscribes to fill it.
 */
export async function closeHoles(shard: number, { dataSource, tables }: { dataSource: DataSource; tables: TableNames }): Promise<void> {
  await sqlTransaction(dataSource, async (sql) => {
    const { micros, now } = expressionsOf(sql.dialect);
    // With the lock no append is under way: whatever is missing now stays missing.
    await sql.query(`SELECT head FROM ${tables.shard} WHERE shard = ? FOR UPDATE`, [shard]);
    const [row] = await sql.query<{ head: string; clock: string }[]>(`SELECT head, ${micros(now)} AS clock FROM ${tables.shard} WHERE shard = ?`, [shard]);
    const head = Number(row!.head);
    const from = Math.max(1, head - LOOK_BACK);
    const rows = await sql.query<{ seq: string }[]>(`SELECT seq FROM ${tables.event} WHERE shard = ? AND seq >= ?`, [shard, from]);
    const there = new Set(rows.map(({ seq }) => Number(seq)));
    const fillers: StoredEvent[] = [];
    for (let seq = from; seq <= head; seq++) if (!there.has(seq)) fillers.push(filler(shard, seq, Number(row!.clock)));
    await insertEvents(sql, fillers, tables);
  });
}

function filler(shard: number, seq: number, recordedAtMicros: number): StoredEvent {
  const eventId = newId();
  const text = { tenant: '', stream: `tandem.void-${eventId}`, type: 'tandem.void', payload: '{}', metadata: '{}' };
  return { ...text, eventId, shard, seq, version: 1, schemaVersion: 1, recordedAtMicros, payloadBytes: 2 };
}
