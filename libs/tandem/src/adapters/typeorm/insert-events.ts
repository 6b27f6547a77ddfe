import type { StoredEvent } from '../../events/event-log.js';
import { expressionsOf } from './dialect.js';
import { insertChunks } from './insert-chunks.js';
import { valuesList, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const COLUMNS = ['shard', 'seq', 'eventId', 'tenant', 'stream', 'version', 'type', 'schemaVersion', 'payload', 'metadata', 'recordedAt'] as const;

/** Under the lock of their shards. */
export async function insertEvents(sql: Sql, events: readonly StoredEvent[], tables: TableNames): Promise<void> {
  const { time } = expressionsOf(sql.dialect);
  for (const chunk of insertChunks(events, (event) => event.payloadBytes + Buffer.byteLength(event.metadata))) {
    const rows = chunk.map((event) => ({ ...event, recordedAt: time(event.recordedAtMicros) }));
    const { text, params } = valuesList(rows, COLUMNS);
    await sql.query(`INSERT INTO ${tables.event} (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ${text}`, params);
  }
}
