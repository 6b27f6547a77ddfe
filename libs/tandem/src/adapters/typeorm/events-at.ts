import type { EventAt, StreamVersions } from '../../events/event-log.js';
import { expressionsOf } from './dialect.js';
import { slices } from './insert-chunks.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/** Stream selects in one statement. */
const STREAMS_AT_ONCE = 500;

/** A SELECT for each stream, so that each is one walk of the unique index. */
export async function eventsAt(sql: Sql, streams: readonly StreamVersions[], tables: TableNames): Promise<readonly EventAt[]> {
  const { as } = expressionsOf(sql.dialect);
  const select = `SELECT event_id AS ${as('eventId')}, tenant, stream, version FROM ${tables.event} WHERE tenant = ? AND stream = ? AND version IN (?)`;
  const found: EventAt[] = [];
  for (const slice of slices(streams, STREAMS_AT_ONCE)) {
    const params = slice.flatMap(({ tenant, stream, versions }) => [tenant, stream, versions]);
    found.push(...(await sql.query<EventAt[]>(slice.map(() => select).join(' UNION ALL '), params)));
  }
  return found;
}
