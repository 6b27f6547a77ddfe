import type { CommandOutcome } from '../../events/command-outcome.js';
import type { StoredEvent } from '../../events/event-log.js';
import { expressionsOf } from './dialect.js';
import { insertChunks } from './insert-chunks.js';
import { valuesList, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';
import { positionsText, streamsOf, withOutcomes, writeOutcomes, type Completion } from './write-outcomes.js';

const COLUMNS = ['shard', 'seq', 'eventId', 'tenant', 'stream', 'version', 'type', 'schemaVersion', 'payload', 'metadata', 'recordedAt'] as const;

/** Under the lock of their shards. With them the records of commands are completed, on PostgreSQL in the same statement. */
export async function insertEvents(sql: Sql, events: readonly StoredEvent[], tables: TableNames, outcomes: readonly CommandOutcome[] = []): Promise<void> {
  const { time } = expressionsOf(sql.dialect);
  const completion: Completion = {
    positions: { text: '?', params: [outcomes.length > 0 ? positionsText(events) : ''] },
    streams: streamsOf(outcomes.length > 0 ? events : []),
    tables,
  };
  const chunks = insertChunks(events, (event) => event.payloadBytes + Buffer.byteLength(event.metadata));
  const inLast = sql.dialect === 'postgres' ? outcomes : [];
  for (const chunk of chunks) {
    const rows = chunk.map((event) => ({ ...event, recordedAt: time(event.recordedAtMicros) }));
    const values = valuesList(rows, COLUMNS);
    const insert = `INSERT INTO ${tables.event} (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ${values.text}`;
    const { text, params } = withOutcomes({ text: insert, params: values.params }, chunk === chunks.at(-1) ? inLast : [], completion);
    await sql.query(text, params);
  }
  if (inLast !== outcomes) await writeOutcomes(sql, outcomes, completion);
}
