import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { type AppendedEvent, EventLog, type EventKey, type Heads, type PendingEvent, type ShardRange, type StoredEvent } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';
import { currentUnit, type Unit } from '../../kernel/unit-of-work.js';
import { append } from './append.js';
import { appendBlock, appendLastBlock, fitsInBlock } from './append-block.js';
import { expressionsOf } from './dialect.js';
import { slices } from './insert-chunks.js';
import { commitWith, sqlOf, sqlOutside, type Dialect, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const STREAM_PAGE = 500;
/** How often a stream whose versions have a hole is read again: MariaDB may show a later commit without an earlier one. */
const STREAM_TRIES = 10;
const STREAM_PAUSE_MS = 20;
const EVENTS_AT_ONCE = 500;

/** A row of the log as both drivers return it. */
interface Row {
  readonly shard: number;
  readonly seq: number | string;
  readonly event_id: string;
  readonly tenant: string;
  readonly stream: string;
  readonly version: number;
  readonly type: string;
  readonly schema_version: number;
  readonly recorded: number | string;
  readonly bytes: number;
  readonly payload: string;
  readonly metadata: string;
}

function keyColumns(dialect: Dialect): string {
  const { micros, bytes } = expressionsOf(dialect);
  return `shard, seq, event_id, tenant, stream, version, type, schema_version, ${micros('recorded_at')} AS recorded, ${bytes('payload')} AS bytes`;
}

function textColumns(dialect: Dialect): string {
  const { text } = expressionsOf(dialect);
  return `${text('payload')} AS payload, ${text('metadata')} AS metadata`;
}

const keyOf = (row: Omit<Row, 'payload' | 'metadata'>): EventKey => ({
  shard: row.shard,
  seq: Number(row.seq),
  eventId: row.event_id,
  tenant: row.tenant,
  stream: row.stream,
  version: row.version,
  type: row.type,
  schemaVersion: row.schema_version,
  recordedAtMicros: Number(row.recorded),
  payloadBytes: Number(row.bytes),
});

/** The log on MySQL, MariaDB and PostgreSQL. */
export class SqlEventLog extends EventLog {
  private isMariaDb: boolean | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {
    super();
  }

  async append(unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    if (events.length === 0) return [];
    const sql = sqlOf(unit);
    return (await this.takesBlock(sql, events)) ? appendBlock(sql, events, this.tables) : append(sql, events, { dataSource: this.dataSource, tables: this.tables });
  }

  override async appendLast(unit: Unit, events: readonly PendingEvent[]): Promise<readonly AppendedEvent[]> {
    if (events.length === 0 || !(await this.takesBlock(sqlOf(unit), events))) return this.append(unit, events);
    return appendLastBlock((text, params) => commitWith(unit, text, params), events, this.tables);
  }

  /** MariaDB does, MySQL does not; they share a dialect. Asked once. */
  private async takesBlock(sql: Sql, events: readonly PendingEvent[]): Promise<boolean> {
    if (sql.dialect === 'postgres' || !fitsInBlock(events)) return false;
    if (this.isMariaDb === undefined) {
      const [row] = await sql.query<{ version: string }[]>('SELECT VERSION() AS version');
      this.isMariaDb = row!.version.includes('MariaDB');
    }
    return this.isMariaDb;
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

  async readKeys(unit: Unit, ranges: readonly ShardRange[], limitPerShard: number): Promise<readonly EventKey[]> {
    if (ranges.length === 0) return [];
    const sql = sqlOf(unit);
    const select = `(SELECT ${keyColumns(sql.dialect)} FROM ${this.tables.event} WHERE shard = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?)`;
    const rows = await sql.query<Row[]>(
      ranges.map(() => select).join(' UNION ALL '),
      ranges.flatMap(({ shard, after, upTo }) => [shard, after, upTo, limitPerShard]),
    );
    return rows.map(keyOf).sort((a, b) => a.shard - b.shard || a.seq - b.seq);
  }

  async readEvents(unit: Unit, keys: readonly EventKey[]): Promise<readonly StoredEvent[]> {
    const sql = sqlOf(unit);
    const select = `SELECT shard, seq, ${textColumns(sql.dialect)} FROM ${this.tables.event} WHERE shard = ? AND seq IN (?)`;
    const texts = new Map<string, Pick<StoredEvent, 'payload' | 'metadata'>>();
    for (const slice of slices(keys, EVENTS_AT_ONCE)) {
      const seqs = new Map<number, number[]>();
      for (const { shard, seq } of slice) seqs.set(shard, [...(seqs.get(shard) ?? []), seq]);
      const rows = await sql.query<Row[]>([...seqs].map(() => select).join(' UNION ALL '), [...seqs].flat(1));
      for (const { shard, seq, payload, metadata } of rows) texts.set(`${shard}/${seq}`, { payload, metadata });
    }
    return keys.map((key) => {
      const text = texts.get(`${key.shard}/${key.seq}`);
      if (!text)
        throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `The log no longer has event ${key.eventId} at ${key.shard}/${key.seq}`, {
          next: 'Was the database set back to an older state?',
        });
      return { ...key, ...text };
    });
  }

  /** In the unit that the caller runs in, if one is open. */
  async readStream(tenant: string, stream: string, fromVersion = 1): Promise<readonly StoredEvent[]> {
    return this.on(currentUnit(), async (sql) => {
      const events: StoredEvent[] = [];
      let tries = 1;
      for (;;) {
        const next = fromVersion + events.length;
        const page = await this.streamPage(sql, { tenant, stream }, next);
        const hole = page.findIndex(({ version }, i) => version !== next + i);
        events.push(...(hole === -1 ? page : page.slice(0, hole)));
        if (hole === -1 && page.length < STREAM_PAGE) return events;
        if (hole === -1) continue;
        if (tries++ === STREAM_TRIES) throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `${stream} has a version ${page[hole]!.version} but no version ${next + hole}`);
        await sleep(STREAM_PAUSE_MS);
      }
    });
  }

  private async streamPage(sql: Sql, of: { tenant: string; stream: string }, fromVersion: number): Promise<StoredEvent[]> {
    const rows = await sql.query<Row[]>(
      `SELECT ${keyColumns(sql.dialect)}, ${textColumns(sql.dialect)} FROM ${this.tables.event} WHERE tenant = ? AND stream = ? AND version >= ? ORDER BY version LIMIT ?`,
      [of.tenant, of.stream, fromVersion, STREAM_PAGE],
    );
    return rows.map((row) => ({ ...keyOf(row), payload: row.payload, metadata: row.metadata }));
  }

  private on<T>(unit: Unit | undefined, work: (sql: Sql) => Promise<T>): Promise<T> {
    return unit ? work(sqlOf(unit)) : sqlOutside(this.dataSource, work);
  }
}
