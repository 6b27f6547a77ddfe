/**
 * MariaDB only: the whole append as one compound statement (`BEGIN NOT ATOMIC … END`), with COMMIT as its last act where nothing
 * else follows. One round trip instead of four, and no process can be stopped between taking numbers and COMMIT. Each statement
 * inside has a clock and, under READ COMMITTED, a snapshot of its own, so versions and time are read under the shards' locks.
 * A failed check leaves the block by SIGNAL before COMMIT; so does every error.
 */
import type { AppendedEvent, PendingEvent, StoredEvent } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';
import { type AppendRequest, checkVersions, conflictOf, countsOf, isNew, keyOf, numbered, raisedJobs, type ShardCount, targetsOf, type Target } from './append.js';
import { expressionsOf } from './dialect.js';
import { block, hadEnded, signalOf } from './block.js';
import { endTexts, staleIn } from './job-ends.js';
import { numberTexts } from './job-sequences.js';
import type { BoundText, Sql } from './sql.js';
import { driverErrorOf } from './sql-errors.js';
import type { TableNames } from './table-names.js';
import { outcomeUpdate, streamsOf } from './write-outcomes.js';

/** Larger appends go statement by statement: the block is parsed anew each time. */
const MAX_EVENTS = 50;
const MAX_STREAMS = 10;
const MAX_JOBS = 50;
const MAX_BYTES = 1024 * 1024;

export function fitsInBlock({ events, outcomes, jobs = [] }: AppendRequest): boolean {
  if (jobs.length > MAX_JOBS || events.length > MAX_EVENTS || new Set(events.map(({ tenant, stream }) => keyOf(tenant, stream))).size > MAX_STREAMS) return false;
  const ofEvents = events.reduce((bytes, { payload, metadata }) => bytes + payload.length + metadata.length, 0);
  return outcomes.reduce((bytes, { result }) => bytes + result.length, ofEvents) <= MAX_BYTES;
}

/** For an append that goes statement by statement: without autocommit its first statement would begin a new transaction. @throws TANDEM_UNIT_OF_WORK_DOOMED */
export async function refuseOutsideTransaction(sql: Sql): Promise<void> {
  const [row] = await sql.query<{ inside: number | string }[]>('SELECT @@in_transaction AS inside');
  if (Number(row!.inside) !== 1) throw hadEnded();
}

/** @throws OptimisticConcurrencyError, TANDEM_JOB_STALE, TANDEM_UNIT_OF_WORK_DOOMED; the driver's errors. */
export async function appendBlock(sql: Sql, request: AppendRequest, tables: TableNames): Promise<readonly StoredEvent[]> {
  const append = appendOf(request, tables);
  const versions = append.streams.map((_, i) => `v${i}`).join(', ');
  const told = await sent(append, (text, params) => sql.query(text, params), `SELECT ${append.heads}, ${versions}, ${expressionsOf('mysql').micros('clock')} AS clock;`);
  return numbered(request.events, append.targets, {
    seqs: firstNumbers(append, told),
    versions: new Map([...append.targets.keys()].map((key, i) => [key, Number(told[`v${i}`])])),
    clockMicros: Number(told.clock),
  });
}

/** With COMMIT as the block's last act. @throws what `appendBlock` and `send` throw. */
export async function appendLastBlock(send: SendBlock, request: AppendRequest, tables: TableNames): Promise<readonly AppendedEvent[]> {
  const append = appendOf(request, tables);
  const told = await sent(append, send, `SELECT ${append.heads || '0'}; COMMIT;`);
  const next = firstNumbers(append, told);
  return request.events.map(({ eventId, tenant, stream, type }) => {
    const { shard } = append.targets.get(keyOf(tenant, stream))!;
    const seq = next.get(shard)!;
    next.set(shard, seq + 1);
    return { eventId, tenant, stream, type, shard, seq };
  });
}

type SendBlock = (text: string, params: readonly unknown[]) => Promise<unknown>;
/** What the block's SELECT answers. */
type Told = Readonly<Record<string, string>>;

/** One append, numbered for the block's variables: `h0`, `h1`, … for its shards, `v0`, `v1`, … for its streams. */
interface Append extends Required<AppendRequest> {
  readonly targets: ReadonlyMap<string, Target>;
  readonly streams: readonly Target[];
  readonly shards: readonly ShardCount[];
  readonly heads: string;
  readonly tables: TableNames;
}

function appendOf({ events, outcomes, jobs = [], ended = [] }: AppendRequest, tables: TableNames): Append {
  const targets = targetsOf(events);
  const shards = countsOf(targets, jobs);
  return { events, outcomes, jobs, ended, targets, streams: [...targets.values()], shards, heads: shards.map((_, i) => `h${i}`).join(', '), tables };
}

const firstNumbers = ({ shards }: Append, told: Told): Map<number, number> => new Map(shards.map(({ shard, events }, i) => [shard, Number(told[`h${i}`]) - events + 1]));

async function sent(append: Append, send: SendBlock, last: string): Promise<Told> {
  const { text, params } = blockOf(append, last);
  try {
    const [rows] = (await send(text, params)) as [readonly Told[]];
    return rows[0]!;
  } catch (error) {
    const said = signalOf(error);
    throw staleIn(said, append.ended) ?? refusalOf(said, append) ?? outOfRange(error, append) ?? conflictOf(error, append.streams, append.tables) ?? error;
  }
}

/** The overflow is an error in every SQL mode. */
const RAISED_OR_ERROR = 'IF(ROW_COUNT() = 1, LAST_INSERT_ID(), ~0 + 1)';

function blockOf(append: Append, last: string): BoundText {
  const { ended, events, jobs, shards, streams, tables } = append;
  const params: unknown[] = [];
  const numbers = [...shards.map((_, i) => `h${i}`), ...streams.map((_, i) => `v${i}`)].join(', ');
  const parts: string[] = [];
  const put = (texts: readonly BoundText[]): void => {
    parts.push(...texts.map(({ text }) => `${text};`));
    params.push(...texts.flatMap((each) => each.params));
  };
  // Before the shards: their locks are the last ones.
  put(endTexts(ended, tables));
  shards.forEach((count, i) => {
    parts.push(`UPDATE ${tables.shard} SET head = LAST_INSERT_ID(head + ${count.events})${raisedJobs(count)} WHERE shard = ${count.shard};`, `SET h${i} = ${RAISED_OR_ERROR};`);
  });
  put(numberTexts(jobs, tables));
  // By SELECT, not SET: that one would lock what it reads, and wait for whoever has appended beside these streams in the index.
  const read = new Map(events.length > 0 ? [['clock', 'UTC_TIMESTAMP(6)']] : []);
  // A stream that is to be new needs no look: its version 1 is there already, or it is not.
  streams.forEach(({ tenant, stream, events: own }, i) => {
    if (isNew(own)) return;
    read.set(`v${i}`, `(SELECT COALESCE(MAX(version), 0) FROM ${tables.event} WHERE tenant = ? AND stream = ?)`);
    params.push(tenant, stream);
  });
  if (read.size > 0) parts.push(`SELECT ${[...read.values()].join(', ')} INTO ${[...read.keys()].join(', ')};`);
  streams.forEach(({ events: own }, i) => {
    const allowed = allowedBefore(own);
    if (!allowed || (isNew(own) && allowed.includes(0))) return;
    const refused = allowed.length === 0 ? 'TRUE' : `v${i} NOT IN (${allowed.join(', ')})`;
    parts.push(
      `IF ${refused} THEN BEGIN DECLARE refusal VARCHAR(60) DEFAULT CONCAT('tandem.version:${i}:', v${i}); SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = refusal; END; END IF;`,
    );
  });
  if (events.length > 0) parts.push(insertOf(append, params));
  parts.push(...completionOf(append, params), last);
  return { text: block(parts.join(' '), `${numbers && `DECLARE ${numbers} BIGINT DEFAULT 0; `}DECLARE clock DATETIME(6); `), params };
}

/** Here the positions are only known to the block. */
function completionOf({ events, outcomes, shards, tables }: Append, params: unknown[]): string[] {
  const members = shards.flatMap(({ shard, events: count }, i) => (count === 0 ? [] : `"${shard}":', h${i}`)).map((member, i) => `'${i === 0 ? '' : ','}${member}`);
  const positions = { text: `CONCAT('{', ${[...members, "'}'"].join(', ')})`, params: [] };
  return outcomes.map((outcome) => {
    const update = outcomeUpdate(outcome, { positions, streams: streamsOf(events), tables });
    params.push(...update.params);
    return `${update.text};`;
  });
}

function insertOf({ events, shards, streams, tables }: Append, params: unknown[]): string {
  const shardAt = new Map(shards.map(({ shard, events: count }, i) => [shard, { i, left: count }]));
  const streamAt = new Map(streams.map(({ tenant, stream, shard }, i) => [keyOf(tenant, stream), { i, shard, count: 0 }]));
  const rows = events.map((event) => {
    const ofStream = streamAt.get(keyOf(event.tenant, event.stream))!;
    const ofShard = shardAt.get(ofStream.shard)!;
    ofShard.left--;
    ofStream.count++;
    params.push(event.eventId, event.tenant, event.stream, event.type, event.schemaVersion, event.payload, event.metadata);
    return `(${ofStream.shard}, h${ofShard.i} - ${ofShard.left}, ?, ?, ?, v${ofStream.i} + ${ofStream.count}, ?, ?, ?, ?, clock)`;
  });
  return `INSERT INTO ${tables.event} (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ${rows.join(', ')};`;
}

/** The versions that a stream may have before these events: all of them may name that version, or each the one before itself. Undefined: any. */
function allowedBefore(events: readonly PendingEvent[]): readonly number[] | undefined {
  let allowed: readonly number[] | undefined;
  events.forEach(({ expected }, i) => {
    if (expected === 'any') return;
    const wanted = expected === 'none' ? 0 : expected;
    const own = [wanted, wanted - i];
    allowed = allowed ? allowed.filter((version) => own.includes(version)) : [...new Set(own)];
  });
  return allowed;
}

const OUT_OF_RANGE = 1690;

function outOfRange(error: unknown, { shards, tables }: Append): TandemError | undefined {
  if ((driverErrorOf(error) as { errno?: number }).errno !== OUT_OF_RANGE) return undefined;
  const numbers = shards.map(({ shard }) => shard).join(', ');
  return new TandemError('TANDEM_SCHEMA_OUTDATED', `${tables.shard} has no row for shard ${numbers}`, { cause: error });
}

/** What a block's signal says of its streams. */
function refusalOf(said: string | undefined, { streams }: Append): TandemError | undefined {
  const [what, i, version] = said?.split(':') ?? [];
  return what === 'version' ? conflictAt(streams[Number(i)]!, Number(version)) : undefined;
}

function conflictAt(target: Target, version: number): TandemError {
  const key = keyOf(target.tenant, target.stream);
  try {
    checkVersions(new Map([[key, target]]), new Map([[key, version]]));
  } catch (conflict) {
    return conflict as TandemError;
  }
  return new TandemError('TANDEM_STATEMENT_INVALID', `The append block refused version ${version} of ${target.stream}, which is as expected`);
}
