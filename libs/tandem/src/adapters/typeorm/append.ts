/**
 * Appending: take numbers from the shards (their row locks are held until COMMIT), then read the clock and the versions under
 * those locks, then INSERT. Few round trips on purpose: whoever stops between them holds 1/64 of the streams. MariaDB takes all
 * of it, and COMMIT, as one block (append-block.ts).
 */
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { CommandOutcome } from '../../events/command-outcome.js';
import { shardOf, type PendingEvent, type StoredEvent } from '../../events/event-log.js';
import { isTandemError, OptimisticConcurrencyError, TandemError } from '../../kernel/errors.js';
import type { JobTicket } from '../../jobs/job-store.js';
import { closeHoles } from './close-holes.js';
import { writeEnds } from './job-ends.js';
import { jobCounts, type SequencedJob, writeNumbers } from './job-sequences.js';
import { expressionsOf } from './dialect.js';
import { insertEvents } from './insert-events.js';
import { slices } from './insert-chunks.js';
import { isDuplicateKey, type Sql } from './sql.js';
import { driverErrorOf } from './sql-errors.js';
import type { TableNames } from './table-names.js';
import { writeOutcomes } from './write-outcomes.js';

/** Stream selects in one statement. */
const STREAMS_AT_ONCE = 500;

/** What is appended to one stream. */
export interface Target {
  readonly shard: number;
  readonly tenant: string;
  readonly stream: string;
  readonly events: PendingEvent[];
}

/** What one append writes. */
export interface AppendRequest {
  readonly events: readonly PendingEvent[];
  readonly outcomes: readonly CommandOutcome[];
  /** They take their numbers of the same shards: they are in sequences. Default none. */
  readonly jobs?: readonly SequencedJob[];
  /** Jobs that end with it. Default none. */
  readonly ended?: readonly JobTicket[];
}

export async function append(sql: Sql, { events, outcomes, jobs = [], ended = [] }: AppendRequest, { dataSource, tables }: Place): Promise<readonly StoredEvent[]> {
  const targets = targetsOf(events);
  await writeEnds(sql, ended, tables);
  const seqs = await takeNumbers(sql, countsOf(targets, jobs), { dataSource, tables });
  await writeNumbers(sql, jobs, tables);
  if (events.length === 0) {
    await writeOutcomes(sql, outcomes, { positions: { text: "'{}'", params: [] }, streams: [], tables });
    return [];
  }
  const { clockMicros, versions } = await clockAndVersions(sql, targets, tables);
  checkVersions(targets, versions);
  const stored = numbered(events, targets, { seqs, versions, clockMicros });
  try {
    await insertEvents(sql, stored, tables, outcomes);
  } catch (error) {
    throw conflictOf(error, [...targets.values()], tables) ?? error;
  }
  return stored;
}

/** Where an append begins: each shard's first free number, each stream's version before it, the clock. */
export interface Begin {
  readonly seqs: ReadonlyMap<number, number>;
  readonly versions: ReadonlyMap<string, number>;
  readonly clockMicros: number;
}

export function numbered(events: readonly PendingEvent[], targets: ReadonlyMap<string, Target>, begin: Begin): StoredEvent[] {
  const seqs = new Map(begin.seqs);
  const versions = new Map(begin.versions);
  return events.map((event): StoredEvent => {
    const key = keyOf(event.tenant, event.stream);
    const { shard } = targets.get(key)!;
    const seq = seqs.get(shard)!;
    const version = versions.get(key)! + 1;
    seqs.set(shard, seq + 1);
    versions.set(key, version);
    const { expected: _expected, ...rest } = event;
    return { ...rest, shard, seq, version, recordedAtMicros: begin.clockMicros, payloadBytes: Buffer.byteLength(event.payload) };
  });
}

export const keyOf = (tenant: string, stream: string): string => `${tenant}\n${stream}`;

export function targetsOf(events: readonly PendingEvent[]): Map<string, Target> {
  const targets = new Map<string, Target>();
  for (const event of events) {
    const { tenant, stream } = event;
    const key = keyOf(tenant, stream);
    const target = targets.get(key);
    if (target) target.events.push(event);
    else targets.set(key, { shard: shardOf(tenant, stream), tenant, stream, events: [event] });
  }
  return targets;
}

export interface Place {
  readonly dataSource: DataSource;
  readonly tables: TableNames;
}

/** How many numbers a touched shard gives. */
export interface ShardCount {
  readonly shard: number;
  readonly events: number;
  readonly jobs: number;
}

/** Ascending: locks are taken in this order. */
export function countsOf(targets: ReadonlyMap<string, Target>, sequenced: readonly SequencedJob[] = []): ShardCount[] {
  const events = new Map<number, number>();
  for (const target of targets.values()) events.set(target.shard, (events.get(target.shard) ?? 0) + target.events.length);
  const jobs = jobCounts(sequenced);
  const shards = [...new Set([...events.keys(), ...jobs.keys()])].sort((a, b) => a - b);
  return shards.map((shard) => ({ shard, events: events.get(shard) ?? 0, jobs: jobs.get(shard) ?? 0 }));
}

/** Raises the heads of every touched shard. Shard → its first free number for events. */
export async function takeNumbers(sql: Sql, counts: readonly ShardCount[], place: Place): Promise<ReadonlyMap<number, number>> {
  const firsts = new Map<number, number>();
  for (const count of counts) {
    const head = sql.dialect === 'mysql' ? await raiseHeadMysql(sql, count, place) : await raiseHeadPostgres(sql, count, place.tables);
    firsts.set(count.shard, head - count.events + 1);
  }
  return firsts;
}

/** Of the same UPDATE, where the unit has jobs in sequences of this shard. */
export const raisedJobs = ({ jobs }: ShardCount): string => (jobs === 0 ? '' : `, job_head = job_head + ${jobs}`);

async function raiseHeadPostgres(sql: Sql, count: ShardCount, tables: TableNames): Promise<number> {
  const { events, shard } = count;
  const [row] = await sql.query<{ head: string }[]>(`UPDATE ${tables.shard} SET head = head + ?${raisedJobs(count)} WHERE shard = ? RETURNING head`, [events, shard]);
  if (!row) throw shardMissing(shard, tables);
  return Number(row.head);
}

async function raiseHeadMysql(sql: Sql, count: ShardCount, place: Place): Promise<number> {
  const { events, shard } = count;
  const text = `UPDATE ${place.tables.shard} SET head = LAST_INSERT_ID(head + ?)${raisedJobs(count)} WHERE shard = ?`;
  try {
    const { insertId, affectedRows } = await sql.query<{ insertId: number | string; affectedRows: number }>(text, [events, shard]);
    if (affectedRows === 0) throw shardMissing(shard, place.tables);
    return Number(insertId);
  } catch (error) {
    if (isTandemError(error, 'TANDEM_UNIT_OF_WORK_DOOMED')) void closeLater(shard, place);
    throw error;
  }
}

/** Not waited for: it takes a connection of its own, and the unit that has failed still holds one. Where it fails, a reader that meets the hole closes it. */
async function closeLater(shard: number, place: Place): Promise<void> {
  try {
    await closeHoles({ shard, seq: 'near the head' }, place);
  } catch (error) {
    new Logger('Tandem').warn(`Shard ${shard} has a hole, which its readers will close: ${String(error)}`);
  }
}

const shardMissing = (shard: number, tables: TableNames): TandemError => new TandemError('TANDEM_SCHEMA_OUTDATED', `${tables.shard} has no row for shard ${shard}`);

interface ClockAndVersions {
  readonly clockMicros: number;
  /** Stream → version of its last event, 0 without any. */
  readonly versions: Map<string, number>;
}

async function clockAndVersions(sql: Sql, targets: ReadonlyMap<string, Target>, tables: TableNames): Promise<ClockAndVersions> {
  const { micros, now } = expressionsOf(sql.dialect);
  const versions = new Map<string, number>();
  let clockMicros = 0;
  for (const streams of slices([...targets], STREAMS_AT_ONCE)) {
    const selects = streams.map((_, i) => `SELECT ${i}, COALESCE(MAX(version), 0) FROM ${tables.event} WHERE tenant = ? AND stream = ?`);
    const text = [`SELECT -1 AS i, ${micros(now)} AS n`, ...selects].join(' UNION ALL ');
    const rows = await sql.query<{ i: number; n: number | string }[]>(
      text,
      streams.flatMap(([, { tenant, stream }]) => [tenant, stream]),
    );
    for (const { i, n } of rows) {
      const at = streams[Number(i)];
      if (at) versions.set(at[0], Number(n));
      else clockMicros = Number(n);
    }
  }
  return { clockMicros, versions };
}

/** All events of one stream may carry the version the stream had before them, or each the one before itself. */
export function checkVersions(targets: ReadonlyMap<string, Target>, versions: ReadonlyMap<string, number>): void {
  for (const [key, { stream, events }] of targets) {
    const before = versions.get(key)!;
    events.forEach(({ expected }, i) => {
      const wanted = expected === 'none' ? 0 : expected;
      if (wanted === 'any' || wanted === before || wanted === before + i) return;
      throw new OptimisticConcurrencyError(stream, expected === 'none' ? { expected } : { expected: wanted, actual: before + i });
    });
  }
}

/** Versions that were read were read under the shard's lock, so for those this takes a snapshot older than its locks (REPEATABLE READ). */
export function conflictOf(error: unknown, streams: readonly Target[], tables: TableNames): OptimisticConcurrencyError | undefined {
  const { message = '', detail = '' } = driverErrorOf(error) as { message?: string; detail?: string };
  if (!isDuplicateKey(error) || !message.includes(`${tables.event}_stream`)) return undefined;
  // MariaDB leaves an empty tenant out of "Duplicate entry 'tenant-stream-version'".
  const named = streams.find(({ tenant, stream }) => hasNumberAfter(message, `'${tenant && `${tenant}-`}${stream}-`, "'") || hasNumberAfter(detail, `, ${stream}, `, ')'));
  const { stream, events } = named ?? streams[0]!;
  return new OptimisticConcurrencyError(stream, isNew(events) ? { expected: 'none' } : {}, error);
}

/** Whether these events are to be the first of their stream. */
export const isNew = ([first]: readonly PendingEvent[]): boolean => first?.expected === 'none';

function hasNumberAfter(text: string, before: string, after: "'" | ')'): boolean {
  const at = text.indexOf(before);
  return at >= 0 && (after === ')' ? /^\d+\)/ : /^\d+'/).test(text.slice(at + before.length));
}
