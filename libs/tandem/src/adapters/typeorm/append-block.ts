/**
 * MariaDB only: the whole append as one compound statement (`BEGIN NOT ATOMIC … END`), with COMMIT as its last act where nothing
 * else follows. One round trip instead of four, and no process can be stopped between taking numbers and COMMIT. Each statement
 * inside has a clock and, under READ COMMITTED, a snapshot of its own, so versions and time are read under the shards' locks.
 * A failed check leaves the block by SIGNAL before COMMIT; so does every error.
 */
import type { PendingEvent, StoredEvent } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';
import { checkVersions, conflictOf, countsOf, keyOf, numbered, shardMissing, targetsOf, type Target } from './append.js';
import { expressionsOf } from './dialect.js';
import { driverErrorOf } from './sql-errors.js';
import type { TableNames } from './table-names.js';

/** Larger appends go statement by statement: the block is parsed anew each time. */
const MAX_EVENTS = 50;
const MAX_STREAMS = 10;
const MAX_BYTES = 1024 * 1024;

/** Sends the block: in the unit's turn, or as its COMMIT. */
export type SendBlock = (text: string, params: readonly unknown[]) => Promise<unknown>;

export function fitsInBlock(events: readonly PendingEvent[]): boolean {
  if (events.length > MAX_EVENTS || new Set(events.map(({ tenant, stream }) => keyOf(tenant, stream))).size > MAX_STREAMS) return false;
  return events.reduce((bytes, { payload, metadata }) => bytes + payload.length + metadata.length, 0) <= MAX_BYTES;
}

/** @throws OptimisticConcurrencyError, TANDEM_SCHEMA_OUTDATED, TANDEM_UNIT_OF_WORK_DOOMED; what sending throws. */
export async function appendBlock(
  send: SendBlock,
  events: readonly PendingEvent[],
  { tables, andCommit }: { tables: TableNames; andCommit: boolean },
): Promise<readonly StoredEvent[]> {
  const targets = targetsOf(events);
  const streams = [...targets.values()];
  const shards = countsOf(targets);
  const { text, params } = blockOf(events, { shards, streams, tables, andCommit });
  let rows: Readonly<Record<string, string>>[];
  try {
    [rows] = (await send(text, params)) as [typeof rows];
  } catch (error) {
    throw refusalOf(error, { streams, tables }) ?? conflictOf(error, streams, tables) ?? error;
  }
  const told = rows![0]!;
  return numbered(events, targets, {
    seqs: new Map(shards.map(([shard, count], i) => [shard, Number(told[`h${i}`]) - count + 1])),
    versions: new Map([...targets.keys()].map((key, i) => [key, Number(told[`v${i}`])])),
    clockMicros: Number(told.clock),
  });
}

interface Block {
  readonly shards: readonly (readonly [shard: number, count: number])[];
  readonly streams: readonly Target[];
  readonly tables: TableNames;
  readonly andCommit: boolean;
}

function blockOf(events: readonly PendingEvent[], { shards, streams, tables, andCommit }: Block): { text: string; params: unknown[] } {
  const params: unknown[] = [];
  const heads = shards.map((_, i) => `h${i}`);
  const versions = streams.map((_, i) => `v${i}`);
  const parts = [
    `DECLARE ${[...heads, ...versions].join(', ')} BIGINT; DECLARE refusal VARCHAR(100); DECLARE clock DATETIME(6);`,
    // Outside of a transaction every statement here would commit by itself.
    signalIf('@@in_transaction = 0', `'tandem.transaction'`),
  ];
  shards.forEach(([shard, count], i) => {
    parts.push(
      `UPDATE ${tables.shard} SET head = LAST_INSERT_ID(head + ?) WHERE shard = ?;`,
      signalIf('ROW_COUNT() = 0', `'tandem.shard:${shard}'`),
      `SET h${i} = LAST_INSERT_ID();`,
    );
    params.push(count, shard);
  });
  parts.push('SET clock = UTC_TIMESTAMP(6);');
  streams.forEach(({ tenant, stream, events: own }, i) => {
    parts.push(`SET v${i} = (SELECT COALESCE(MAX(version), 0) FROM ${tables.event} WHERE tenant = ? AND stream = ?);`);
    params.push(tenant, stream);
    const allowed = allowedBefore(own);
    if (!allowed) return;
    parts.push(signalIf(allowed.length === 0 ? 'TRUE' : `v${i} NOT IN (${allowed.join(', ')})`, `CONCAT('tandem.version:${i}:', v${i})`));
  });
  parts.push(insertOf(events, { shards, streams, tables, params }));
  parts.push(`SELECT ${[...heads, ...versions].join(', ')}, ${expressionsOf('mysql').micros('clock')} AS clock;`);
  if (andCommit) parts.push('COMMIT;');
  return { text: `BEGIN NOT ATOMIC ${parts.join(' ')} END`, params };
}

const signalIf = (condition: string, message: string): string => `IF ${condition} THEN SET refusal = ${message}; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = refusal; END IF;`;

function insertOf(events: readonly PendingEvent[], { shards, streams, tables, params }: Omit<Block, 'andCommit'> & { params: unknown[] }): string {
  const shardAt = new Map(shards.map(([shard, count], i) => [shard, { i, left: count }]));
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

/** What a SIGNAL of the block says. */
function refusalOf(error: unknown, { streams, tables }: Pick<Block, 'streams' | 'tables'>): Error | undefined {
  const { sqlState, message = '' } = driverErrorOf(error) as { sqlState?: string; message?: string };
  const [, what, i, version] = (sqlState === '45000' && /tandem\.(\w+)(?::(\d+))?(?::(\d+))?/.exec(message)) || [];
  switch (what) {
    case 'transaction':
      return new TandemError('TANDEM_UNIT_OF_WORK_DOOMED', 'The transaction had ended before its events were appended', { cause: error });
    case 'shard':
      return shardMissing(Number(i), tables);
    case 'version':
      return conflictAt(streams[Number(i)]!, Number(version));
    default:
      return undefined;
  }
}

function conflictAt(target: Target, version: number): Error {
  const key = keyOf(target.tenant, target.stream);
  try {
    checkVersions(new Map([[key, target]]), new Map([[key, version]]));
  } catch (conflict) {
    return conflict as Error;
  }
  return new TandemError('TANDEM_STATEMENT_INVALID', `The append block refused version ${version} of ${target.stream}, which is as expected`);
}
