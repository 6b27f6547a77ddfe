import type { DataSource } from 'typeorm';
import {
  ConsumerStore,
  type Checkpoint,
  type Claim,
  type ClaimRequest,
  type ConsumerRegistration,
  type ConsumerState,
  type ConsumerStatus,
  type RegisteredConsumer,
} from '../../events/consumer-store.js';
import { type Heads, SHARDS } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { expressionsOf } from './dialect.js';
import { registerConsumers } from './register-consumers.js';
import { repeated } from './repeated.js';
import { shortText } from './short-text.js';
import { sqlAt, sqlOf, sqlOutside, sqlTransaction, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

interface ConsumerRow {
  readonly live_generation: number;
  readonly state: ConsumerState;
  readonly types: string;
}

export interface StatusRow extends ConsumerRow {
  readonly name: string;
  readonly kind: string;
  readonly state_reason: string | null;
  /** Microseconds since the epoch. */
  readonly last_run: number | string | null;
  readonly read_at: number | string;
  readonly shard: number | null;
  readonly behind: number | string | null;
}

/** How many events of a shard a consumer has not read. */
interface ShardLag {
  readonly shard: number;
  readonly events: number;
}

/** The shards that are behind, with their heads, and the clock before them. */
export interface Lagging extends Heads {
  readonly behind: readonly ShardLag[];
  readonly wentBack?: string;
}

/** Consumers and their checkpoints on MySQL, MariaDB and PostgreSQL. */
export class SqlConsumerStore extends ConsumerStore {
  constructor(
    protected readonly dataSource: DataSource,
    protected readonly tables: TableNames,
  ) {
    super();
  }

  async register(registrations: readonly ConsumerRegistration[]): Promise<void> {
    if (registrations.length === 0) return;
    await repeated(() => sqlTransaction(this.dataSource, (sql) => registerConsumers(sql, registrations, this.tables)));
  }

  async registered(): Promise<readonly RegisteredConsumer[]> {
    const rows = await sqlOutside(this.dataSource, (sql) => {
      const { micros, now } = expressionsOf(sql.dialect);
      return sql.query<{ name: string; kind: string; types: string; age: number | string }[]>(
        `SELECT name, kind, types, ${micros(now)} - ${micros('created_at')} AS age FROM ${this.tables.consumer} ORDER BY name`,
      );
    });
    return rows.map(({ age, types, ...row }) => ({ ...row, types: JSON.parse(types) as string[], ageMs: Number(age) / 1_000 }));
  }

  async claim(unit: Unit, request: ClaimRequest): Promise<Claim | undefined> {
    const sql = sqlOf(unit);
    const { consumer, exclusive, wait } = request;
    let found = await this.consumerRow(sql, consumer, exclusive ? lockClause(wait) : '');
    while (found) {
      const generation = found.live_generation;
      const lagging = request.shards || wait ? undefined : await this.lagging(unit, consumer, generation);
      if (lagging && (lagging.heads.size === 0 || lagging.wentBack)) return claimOf(consumer, found, { checkpoints: [], heads: lagging, wentBack: lagging.wentBack });
      const candidates = request.shards ? (request.shards.length > 0 ? [request.shards] : []) : lagging ? inParts(lagging.behind, request) : [allShards];
      const checkpoints = await this.lockCheckpoints(sql, request, generation, candidates);
      if (checkpoints.length === 0) return undefined;
      // Only now, unless its row is locked: before the checkpoints were, another process could still have changed it.
      if (!exclusive) found = await this.consumerRow(sql, consumer);
      if (found?.live_generation === generation) return claimOf(consumer, found, { checkpoints, heads: lagging });
      if (!wait) return undefined;
    }
    return undefined;
  }

  async advance(unit: Unit, claim: Claim, checkpoints: readonly Checkpoint[]): Promise<void> {
    if (checkpoints.length === 0) return;
    const cases = checkpoints.map(() => 'WHEN ? THEN ?').join(' ');
    await sqlOf(unit).query(
      `UPDATE ${this.tables.checkpoint} SET seq = CASE shard ${cases} ELSE seq END, event_id = CASE shard ${cases} ELSE event_id END WHERE consumer = ? AND generation = ? AND shard IN (?)`,
      [
        ...checkpoints.flatMap(({ shard, seq }) => [shard, seq]),
        ...checkpoints.flatMap(({ shard, eventId }) => [shard, eventId]),
        claim.consumer,
        claim.generation,
        checkpoints.map(({ shard }) => shard),
      ],
    );
  }

  async status(): Promise<readonly ConsumerStatus[]> {
    const found = new Map<string, ConsumerStatus & { laggingShards: number[] }>();
    for (const row of await this.statusRows()) {
      const status = found.get(row.name) ?? {
        consumer: row.name,
        kind: row.kind,
        state: row.state,
        reason: row.state_reason,
        generation: row.live_generation,
        lag: 0,
        laggingShards: [],
        lastRunAt: row.last_run === null ? null : timeOf(row.last_run),
        readAt: timeOf(row.read_at),
      };
      if (row.shard !== null) status.laggingShards.push(row.shard);
      found.set(row.name, { ...status, lag: status.lag + Number(row.behind ?? 0) });
    }
    return [...found.values()];
  }

  /** One for each shard that is behind, or one without a shard. */
  protected statusRows(): Promise<readonly StatusRow[]> {
    const { consumer, checkpoint, shard } = this.tables;
    return sqlOutside(this.dataSource, (sql) =>
      sql.query<StatusRow[]>(
        `SELECT ${statusColumns(sql)}, p.shard, s.head - p.seq AS behind FROM ${consumer} c
         LEFT JOIN (${checkpoint} p JOIN ${shard} s ON s.shard = p.shard AND s.head > p.seq) ON p.consumer = c.name AND p.generation = c.live_generation
         ORDER BY c.name, p.shard`,
      ),
    );
  }

  async noteRun(unit: Unit, consumer: string, slotMicros: number): Promise<void> {
    const sql = sqlOf(unit);
    const slot = expressionsOf(sql.dialect).time(slotMicros);
    await sql.query(`UPDATE ${this.tables.consumer} SET last_run_at = ? WHERE name = ? AND (last_run_at IS NULL OR last_run_at < ?)`, [slot, consumer, slot]);
  }

  async setState(consumer: string, state: ConsumerState, reason: string | null, unit?: Unit): Promise<void> {
    const set = (sql: Sql) =>
      sql.query<{ affectedRows: number }>(`UPDATE ${this.tables.consumer} SET state = ?, state_reason = ?, updated_at = ${expressionsOf(sql.dialect).now} WHERE name = ?`, [
        state,
        reason === null ? null : shortText(reason),
        consumer,
      ]);
    // A batch of an unpartitioned consumer holds the row for as long as it runs.
    const reply = await (unit ? set(sqlOf(unit)) : repeated(() => sqlOutside(this.dataSource, set)));
    if (reply.affectedRows === 0) throw new TandemError('TANDEM_WIRING', `No consumer named "${consumer}" is registered`);
  }

  async positions(consumers: readonly string[], shards: readonly number[], unit?: Unit): Promise<ReadonlyMap<string, ReadonlyMap<number, number>>> {
    const found = new Map<string, Map<number, number>>(consumers.map((name) => [name, new Map()]));
    if (consumers.length === 0 || shards.length === 0) return found;
    const rows = await sqlAt(this.dataSource, unit, (sql) =>
      sql.query<{ consumer: string; shard: number; seq: number | string }[]>(
        `SELECT p.consumer, p.shard, p.seq FROM ${this.tables.consumer} c JOIN ${this.tables.checkpoint} p ON p.consumer = c.name AND p.generation = c.live_generation
         WHERE c.name IN (?) AND p.shard IN (?)`,
        [consumers, shards],
      ),
    );
    for (const { consumer, shard, seq } of rows) found.get(consumer)!.set(shard, Number(seq));
    return found;
  }

  private async consumerRow(sql: Sql, name: string, lock = ''): Promise<ConsumerRow | undefined> {
    const [row] = await sql.query<ConsumerRow[]>(`SELECT live_generation, state, types FROM ${this.tables.consumer} WHERE name = ? ${lock}`, [name]);
    return row;
  }

  /**
   * Skipping what others hold, one part after the other until one has something free. Not for an exclusive claim: an
   * operator's retry holds some for a moment, and what is in the others may be the effect of what is in those.
   */
  private async lockCheckpoints(sql: Sql, { consumer, exclusive, wait }: ClaimRequest, generation: number, parts: readonly (readonly number[])[]): Promise<Checkpoint[]> {
    for (const shards of parts) {
      const rows = await sql.query<{ shard: number; seq: number | string; event_id: string | null }[]>(
        `SELECT shard, seq, event_id FROM ${this.tables.checkpoint} WHERE consumer = ? AND generation = ? AND shard IN (?) ORDER BY shard ${lockClause(wait || exclusive)}`,
        [consumer, generation, shards],
      );
      if (rows.length > 0) return rows.map((row) => ({ shard: row.shard, seq: Number(row.seq), eventId: row.event_id }));
    }
    return [];
  }

  /** Without locks, and in one statement. */
  protected async lagging(unit: Unit, consumer: string, generation: number): Promise<Lagging> {
    const sql = sqlOf(unit);
    const { micros, now } = expressionsOf(sql.dialect);
    const rows = await sql.query<{ shard: number; head: number | string; seq: number | string; cut: number | string }[]>(
      `SELECT p.shard, s.head, p.seq, ${micros(now)} AS cut FROM ${this.tables.checkpoint} p JOIN ${this.tables.shard} s ON s.shard = p.shard AND s.head > p.seq WHERE p.consumer = ? AND p.generation = ? ORDER BY p.shard`,
      [consumer, generation],
    );
    return {
      cutMicros: Number(rows[0]?.cut ?? 0),
      heads: new Map(rows.map(({ shard, head }) => [shard, Number(head)])),
      behind: rows.map(({ shard, head, seq }) => ({ shard, events: Number(head) - Number(seq) })),
    };
  }
}

const claimOf = (consumer: string, row: ConsumerRow, rest: Pick<Claim, 'checkpoints' | 'heads' | 'wentBack'>): Claim => ({
  consumer,
  generation: row.live_generation,
  state: row.state,
  types: JSON.parse(row.types) as string[],
  ...rest,
});

/** The shards that lag, in parts that one claim takes. From a random one on: the first shards, always busy, would starve the last. */
function inParts(lagging: readonly ShardLag[], { limit = SHARDS, events = Infinity }: ClaimRequest): number[][] {
  const from = Math.floor(Math.random() * lagging.length);
  const parts: number[][] = [];
  let room = 0;
  for (const { shard, events: behind } of [...lagging.slice(from), ...lagging.slice(0, from)]) {
    const part = parts.at(-1);
    if (part && part.length < limit && room > 0) part.push(shard);
    else {
      parts.push([shard]);
      room = events;
    }
    room -= behind;
  }
  return parts;
}

/** Of a consumer `c`. */
export function statusColumns({ dialect }: Pick<Sql, 'dialect'>): string {
  const { micros, now } = expressionsOf(dialect);
  return `c.name, c.kind, c.state, c.state_reason, c.live_generation, ${micros('c.last_run_at')} AS last_run, ${micros(now)} AS read_at`;
}

const timeOf = (micros: number | string): Date => new Date(Math.floor(Number(micros) / 1_000));
const allShards: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);
const lockClause = (wait: boolean): string => (wait ? 'FOR UPDATE' : 'FOR UPDATE SKIP LOCKED');
