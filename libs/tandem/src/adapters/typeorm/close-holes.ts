import type { DataSource } from 'typeorm';
import type { StoredEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import { expressionsOf } from './dialect.js';
import { insertEvents } from './insert-events.js';
import { sqlTransaction } from './sql.js';
import type { TableNames } from './table-names.js';

/** Longer than any hole that one append can leave. */
const LOOK_AT = 100_000;

/** Where to look: from this number on, or before the shard's head. */
export interface HoleAt {
  readonly shard: number;
  readonly seq: number | 'near the head';
}

/**
 * MySQL. When a transaction had ended unnoticed before its append, raising the head was committed by itself: those numbers
 * stay taken, and readers would wait at the hole for ever. Events of a type that nobody subscribes to fill it. Returns how many.
 */
export async function closeHoles({ shard, seq }: HoleAt, { dataSource, tables }: { dataSource: DataSource; tables: TableNames }): Promise<number> {
  return sqlTransaction(dataSource, async (sql) => {
    const { micros, now } = expressionsOf(sql.dialect);
    // With the lock no append is under way: whatever is missing now stays missing.
    await sql.query(`SELECT head FROM ${tables.shard} WHERE shard = ? FOR UPDATE`, [shard]);
    const [row] = await sql.query<{ head: string; clock: string }[]>(`SELECT head, ${micros(now)} AS clock FROM ${tables.shard} WHERE shard = ?`, [shard]);
    const head = Number(row!.head);
    const from = seq === 'near the head' ? Math.max(1, head - LOOK_AT) : seq;
    const to = Math.min(head, from + LOOK_AT);
    const rows = await sql.query<{ seq: string }[]>(`SELECT seq FROM ${tables.event} WHERE shard = ? AND seq >= ? AND seq <= ?`, [shard, from, to]);
    const there = new Set(rows.map(({ seq }) => Number(seq)));
    const fillers: StoredEvent[] = [];
    for (let missing = from; missing <= to; missing++) if (!there.has(missing)) fillers.push(filler(shard, missing, Number(row!.clock)));
    if (fillers.length > 0) await insertEvents(sql, fillers, tables);
    return fillers.length;
  });
}

function filler(shard: number, seq: number, recordedAtMicros: number): StoredEvent {
  const eventId = newId();
  const text = { tenant: '', stream: `tandem.void-${eventId}`, type: 'tandem.void', payload: '{}', metadata: '{}' };
  return { ...text, eventId, shard, seq, version: 1, schemaVersion: 1, recordedAtMicros, payloadBytes: 2 };
}
