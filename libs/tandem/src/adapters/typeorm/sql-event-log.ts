import type { DataSource } from 'typeorm';
import {
  type AppendedEvent,
  type CountRequest,
  type Counts,
  EventLog,
  type EventAt,
  type EventKey,
  type Heads,
  type InlineTexts,
  type PendingEvent,
  type Position,
  type ReadKey,
  type ShardRange,
  type StoredEvent,
  type StreamRange,
  type StreamRead,
  type StreamVersions,
} from '../../events/event-log.js';
import type { CommandOutcome } from '../../events/command-outcome.js';
import { TandemError } from '../../kernel/errors.js';
import { currentUnit, type Unit } from '../../kernel/unit-of-work.js';
import type { AppendRequest } from './append.js';
import { appendIn, appendLastIn } from './append-ways.js';
import { closeHoles } from './close-holes.js';
import { countWaiting } from './count-waiting.js';
import { expressionsOf } from './dialect.js';
import { eventsAt } from './events-at.js';
import { slices } from './insert-chunks.js';
import { endingJobs } from './job-ends.js';
import { sequencedJobs } from './job-sequences.js';
import { readStream } from './read-stream.js';
import { repeated } from './repeated.js';
import { sqlAt, type Dialect, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const EVENTS_AT_ONCE = 500;

/** A row of the log as the drivers return it: a stored event, but for numbers that may come as text, and NULL for texts that were left out. */
type Row<E extends ReadKey = StoredEvent> = { -readonly [K in keyof E]: E[K] };

function keyColumns(dialect: Dialect): string {
  const { as, micros, bytes } = expressionsOf(dialect);
  const named = `event_id AS ${as('eventId')}, tenant, stream, version, type, schema_version AS ${as('schemaVersion')}`;
  return `shard, seq, ${named}, ${micros('recorded_at')} AS ${as('recordedAtMicros')}, ${bytes('payload')} AS ${as('payloadBytes')}`;
}

function textColumns(dialect: Dialect): string {
  const { text } = expressionsOf(dialect);
  return `${text('payload')} AS payload, ${text('metadata')} AS metadata`;
}

/** The row itself becomes the event: a catch-up reads millions of them, and another object for each would be half of its garbage. */
function eventOf<R extends Row<ReadKey>>(row: R): R {
  // pg brings BIGINT as text
  if (typeof row.seq !== 'number') row.seq = Number(row.seq);
  if (typeof row.recordedAtMicros !== 'number') row.recordedAtMicros = Number(row.recordedAtMicros);
  if (typeof row.payloadBytes !== 'number') row.payloadBytes = Number(row.payloadBytes);
  if (typeof row.payload !== 'string') row.payload = row.metadata = undefined;
  return row;
}

type Texts = Pick<StoredEvent, 'payload' | 'metadata'>;

const hasTexts = (key: ReadKey): key is StoredEvent => typeof key.payload === 'string' && typeof key.metadata === 'string';

function selected(dialect: Dialect, inline: InlineTexts | undefined): { readonly columns: string; readonly params: readonly unknown[] } {
  if (!inline || inline.types.length === 0) return { columns: keyColumns(dialect), params: [] };
  const { bytes, text } = expressionsOf(dialect);
  const inlined = (column: string) => `CASE WHEN type IN (?) AND ${bytes('payload')} + ${bytes('metadata')} <= ? THEN ${text(column)} END AS ${column}`;
  const params = [inline.types, inline.maxBytes];
  return { columns: `${keyColumns(dialect)}, ${inlined('payload')}, ${inlined('metadata')}`, params: [...params, ...params] };
}

/** The log on MySQL, MariaDB and PostgreSQL. */
export class SqlEventLog extends EventLog {
  constructor(
    readonly dataSource: DataSource,
    readonly tables: TableNames,
  ) {
    super();
  }

  async append(unit: Unit, events: readonly PendingEvent[], outcomes: readonly CommandOutcome[] = []): Promise<readonly StoredEvent[]> {
    return events.length + outcomes.length === 0 ? [] : appendIn(unit, this.requestOf(unit, events, outcomes), this);
  }

  override async appendLast(unit: Unit, events: readonly PendingEvent[], outcomes: readonly CommandOutcome[] = []): Promise<readonly AppendedEvent[]> {
    return events.length + outcomes.length === 0 ? [] : appendLastIn(unit, this.requestOf(unit, events, outcomes), this);
  }

  private requestOf(unit: Unit, events: readonly PendingEvent[], outcomes: readonly CommandOutcome[]): AppendRequest {
    return { events, outcomes, jobs: sequencedJobs.take(unit), ended: endingJobs.take(unit) };
  }

  async heads(unit?: Unit, shards?: readonly number[]): Promise<Heads> {
    return this.on(unit, async (sql) => {
      const { micros, now } = expressionsOf(sql.dialect);
      const where = shards?.length ? ' WHERE shard IN (?)' : '';
      const rows = await sql.query<{ shard: number; head: number | string; cut: number | string }[]>(
        `SELECT shard, head, ${micros(now)} AS cut FROM ${this.tables.shard}${where}`,
        where ? [shards] : [],
      );
      const [first] = rows;
      if (!first) throw new TandemError('TANDEM_SCHEMA_OUTDATED', `${this.tables.shard} has no rows`);
      const wanted = rows.map(({ shard, head }): [number, number] => [shard, Number(head)]).filter(([shard, head]) => head > 0 && (shards?.includes(shard) ?? true));
      return { cutMicros: Number(first.cut), heads: new Map(wanted) };
    });
  }

  async readKeys(unit: Unit, ranges: readonly ShardRange[], inline?: InlineTexts): Promise<readonly ReadKey[]> {
    if (ranges.length === 0) return [];
    return this.on(unit, (sql) => this.keysOf(sql, ranges, inline));
  }

  private async keysOf(sql: Sql, ranges: readonly ShardRange[], inline: InlineTexts | undefined): Promise<readonly ReadKey[]> {
    const { columns, params } = selected(sql.dialect, inline);
    const bounds = ranges.map(({ shard, after, upTo }) => [shard, after, upTo]);
    const range = 'shard = ? AND seq > ? AND seq <= ?';
    const rows =
      sql.dialect === 'mysql'
        ? // One walk along the primary key; a UNION would be planned range by range.
          await sql.query<Row<ReadKey>[]>(
            `SELECT ${columns} FROM ${this.tables.event} FORCE INDEX (PRIMARY) WHERE ${ranges.map(() => `(${range})`).join(' OR ')} ORDER BY shard, seq`,
            [...params, ...bounds.flat()],
          )
        : await sql.query<Row<ReadKey>[]>(
            ranges.map(() => `(SELECT ${columns} FROM ${this.tables.event} WHERE ${range})`).join(' UNION ALL '),
            bounds.flatMap((bound) => [...params, ...bound]),
          );
    const keys = rows.map(eventOf);
    return sql.dialect === 'mysql' ? keys : keys.sort((a, b) => a.shard - b.shard || a.seq - b.seq);
  }

  count(requests: readonly CountRequest[]): Promise<Counts> {
    return this.on(undefined, (sql) => countWaiting(sql, requests, this.tables));
  }

  async readStreamKeys(unit: Unit, { tenant, stream, from, upTo }: StreamRange): Promise<readonly EventKey[]> {
    const { event } = this.tables;
    const rows = await this.on(unit, (sql) => {
      const index = sql.dialect === 'mysql' ? `FORCE INDEX (${event}_stream)` : '';
      return sql.query<Row<ReadKey>[]>(
        `SELECT ${keyColumns(sql.dialect)} FROM ${event} ${index} WHERE tenant = ? AND stream = ? AND version >= (SELECT version FROM ${event} WHERE shard = ? AND seq = ?) AND seq <= ? ORDER BY version`,
        [tenant, stream, from.shard, from.seq, upTo],
      );
    });
    return rows.map(eventOf);
  }

  eventsAt(unit: Unit, streams: readonly StreamVersions[]): Promise<readonly EventAt[]> {
    return this.on(unit, (sql) => eventsAt(sql, streams, this.tables));
  }

  async readEvents(unit: Unit, keys: readonly ReadKey[]): Promise<readonly StoredEvent[]> {
    const missing = keys.filter((key) => !hasTexts(key));
    const texts = missing.length > 0 ? await this.on(unit, (sql) => this.textsOf(sql, missing)) : new Map<string, Texts>();
    return keys.map((key) => {
      if (hasTexts(key)) return key;
      const text = texts.get(`${key.shard}/${key.seq}`);
      if (!text)
        throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `The log no longer has event ${key.eventId} at ${key.shard}/${key.seq}`, {
          next: 'Was the database set back to an older state?',
        });
      return { ...key, ...text };
    });
  }

  private async textsOf(sql: Sql, keys: readonly EventKey[]): Promise<ReadonlyMap<string, Texts>> {
    const select = `SELECT shard, seq, ${textColumns(sql.dialect)} FROM ${this.tables.event} WHERE shard = ? AND seq IN (?)`;
    const texts = new Map<string, Texts>();
    for (const slice of slices(keys, EVENTS_AT_ONCE)) {
      const seqs = new Map<number, number[]>();
      for (const { shard, seq } of slice) seqs.set(shard, [...(seqs.get(shard) ?? []), seq]);
      const rows = await sql.query<Row[]>([...seqs].map(() => select).join(' UNION ALL '), [...seqs].flat(1));
      for (const { shard, seq, payload, metadata } of rows) texts.set(`${shard}/${seq}`, { payload, metadata });
    }
    return texts;
  }

  async closeHole({ shard, seq }: Position): Promise<number> {
    return repeated(() => closeHoles({ shard, seq }, { dataSource: this.dataSource, tables: this.tables }));
  }

  async readStream(tenant: string, stream: string, read: StreamRead = {}): Promise<readonly StoredEvent[]> {
    const { event } = this.tables;
    return this.on(currentUnit(), (sql) =>
      readStream(read, {
        stream,
        lastVersion: async () => {
          const [row] = await sql.query<{ last: number | null }[]>(`SELECT MAX(version) AS last FROM ${event} WHERE tenant = ? AND stream = ?`, [tenant, stream]);
          return row!.last ?? 0;
        },
        between: async (from, upTo) => {
          const columns = `${keyColumns(sql.dialect)}, ${textColumns(sql.dialect)}`;
          const text = `SELECT ${columns} FROM ${event} WHERE tenant = ? AND stream = ? AND version >= ? AND version <= ? ORDER BY version`;
          return (await sql.query<Row[]>(text, [tenant, stream, from, upTo])).map(eventOf);
        },
      }),
    );
  }

  private on<T>(unit: Unit | undefined, work: (sql: Sql) => Promise<T>): Promise<T> {
    return sqlAt(this.dataSource, unit, work);
  }
}
