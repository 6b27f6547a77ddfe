import type { Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import {
  ConsumerStore,
  type Checkpoint,
  type Claim,
  type ClaimRequest,
  type ConsumerRegistration,
  type ConsumerState,
  type ConsumerStatus,
  type Positions,
  type RegisteredConsumer,
} from '../../events/consumer-store.js';
import { type Heads, SHARDS } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { expressionsOf } from './dialect.js';
import { registerConsumers } from './register-consumers.js';
import { RENAMED } from './rename-consumer.js';
import { repeated } from './repeated.js';
import { quotedPath } from './quoted-path.js';
import { shortText } from './short-text.js';
import { sqlAt, sqlOf, sqlOutside, sqlTransaction, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

interface ConsumerRow {
  readonly live_generation: number;
  readonly live_version: number;
  readonly state: ConsumerState;
  readonly types: string;
}

export interface StatusRow extends Omit<ConsumerRow, 'live_version'> {
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
  /** Consumer → its tables, quoted. */
  private readonly pinned = new Map<string, readonly string[]>();

  constructor(
    protected readonly dataSource: DataSource,
    protected readonly tables: TableNames,
  ) {
    super();
  }

  async register(registrations: readonly ConsumerRegistration[]): Promise<void> {
    if (registrations.length === 0) return;
    for (const { entities, name } of registrations) this.pinned.set(name, tablesOf(this.dataSource, entities ?? []));
    await repeated(() => sqlTransaction(this.dataSource, (sql) => registerConsumers(sql, registrations, this.tables)));
  }

  async registered(): Promise<readonly RegisteredConsumer[]> {
    const rows = await sqlOutside(this.dataSource, (sql) => {
      const { micros, now } = expressionsOf(sql.dialect);
      return sql.query<{ name: string; kind: string; types: string; live_version: number; age: number | string }[]>(
        `SELECT name, kind, types, live_version, ${micros(now)} - ${micros('created_at')} AS age FROM ${this.tables.consumer} WHERE state <> '${RENAMED}' ORDER BY name`,
      );
    });
    return rows.map(({ age, live_version: liveVersion, types, ...row }) => ({ ...row, liveVersion, types: JSON.parse(types) as string[], ageMs: Number(age) / 1_000 }));
  }

  async claim(unit: Unit, request: ClaimRequest): Promise<Claim | undefined> {
    const sql = sqlOf(unit);
    const { consumer, exclusive, inLine = false, wait } = request;
    const row = (lock?: string) => (request.rebuild ? this.rebuildRow(sql, consumer, request.rebuild, lock) : this.consumerRow(sql, consumer, lock));
    let found = await row(exclusive ? lockClause(wait || inLine) : '');
    while (found) {
      const generation = found.live_generation;
      const lagging = request.shards || wait ? undefined : await this.lagging(unit, consumer, generation);
      if (lagging && (lagging.heads.size === 0 || lagging.wentBack)) return claimOf(consumer, found, { checkpoints: [], heads: lagging, wentBack: lagging.wentBack });
      const candidates = request.shards ? (request.shards.length > 0 ? [request.shards] : []) : lagging ? inParts(lagging.behind, request) : [allShards];
      const checkpoints = await this.lockCheckpoints(sql, request, generation, candidates);
      if (checkpoints.length === 0) return undefined;
      // Only now, unless its row is locked: before the checkpoints were, another process could still have changed it.
      if (!exclusive) found = await row();
      if (found?.state === 'swapping' && !wait) return undefined;
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
      if ((row.state as string) === RENAMED) continue;
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
      sql.query<{ affectedRows: number }>(
        `UPDATE ${this.tables.consumer} SET state = ?, state_reason = ?, updated_at = ${expressionsOf(sql.dialect).now} WHERE name = ? AND state <> 'swapping'`,
        [state, reason === null ? null : shortText(reason), consumer],
      );
    // A batch of an unpartitioned consumer holds the row for as long as it runs.
    const reply = await (unit ? set(sqlOf(unit)) : repeated(() => sqlOutside(this.dataSource, set)));
    if (reply.affectedRows === 0) await this.refuseState(consumer, unit);
  }

  async positions(consumers: readonly string[], shards: readonly number[], unit?: Unit): Promise<ReadonlyMap<string, Positions>> {
    const found = new Map<string, PositionsOfOne>(consumers.map((name) => [name, new PositionsOfOne()]));
    if (consumers.length === 0 || shards.length === 0) return found;
    const rows = await sqlAt(this.dataSource, unit, (sql) =>
      sql.query<{ consumer: string; shard: number; seq: number | string; live_generation: number }[]>(
        `SELECT p.consumer, p.shard, p.seq, c.live_generation FROM ${this.tables.consumer} c JOIN ${this.tables.checkpoint} p ON p.consumer = c.name AND p.generation = c.live_generation
         WHERE c.name IN (?) AND p.shard IN (?)${unit ? this.pin(consumers) : ''}`,
        [consumers, shards],
      ),
    );
    for (const { consumer, live_generation, shard, seq } of rows) {
      const positions = found.get(consumer)!;
      positions.generation = live_generation;
      positions.set(shard, Number(seq));
    }
    return found;
  }

  private async consumerRow(sql: Sql, name: string, lock = ''): Promise<ConsumerRow | undefined> {
    const [row] = await sql.query<ConsumerRow[]>(`SELECT live_generation, live_version, state, types FROM ${this.tables.consumer} WHERE name = ? ${lock}`, [name]);
    return row;
  }

  /** As if the rows that are being rebuilt were live. */
  private async rebuildRow(sql: Sql, name: string, { generation, state }: NonNullable<ClaimRequest['rebuild']>, lock = ''): Promise<ConsumerRow | undefined> {
    const { consumer, rebuild } = this.tables;
    const [row] = await sql.query<ConsumerRow[]>(
      `SELECT generation AS live_generation, version AS live_version, 'running' AS state, (SELECT types FROM ${consumer} WHERE name = ${rebuild}.consumer) AS types
       FROM ${rebuild} WHERE consumer = ? AND generation = ? AND state = ? ${lock}`,
      [name, generation, state],
    );
    return row;
  }

  private async refuseState(consumer: string, unit: Unit | undefined): Promise<never> {
    const row = await sqlAt(this.dataSource, unit, (sql) => this.consumerRow(sql, consumer));
    if (row) throw new TandemError('TANDEM_REBUILD_RUNNING', `${consumer} is being swapped to its rebuilt rows`);
    throw new TandemError('TANDEM_WIRING', `No consumer named "${consumer}" is registered`);
  }

  /**
   * Reads nothing, and keeps the tables from being swapped before the unit has ended: otherwise it could look at the positions of
   * the old rows, then read the new ones, of which its snapshot may show less.
   */
  private pin(consumers: readonly string[]): string {
    return consumers
      .flatMap((name) => this.pinned.get(name) ?? [])
      .map((table) => ` AND NOT EXISTS (SELECT 1 FROM ${table} WHERE 1 = 0)`)
      .join('');
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

/** Only what a rebuild can swap: tables. */
function tablesOf(dataSource: DataSource, entities: readonly Type[]): readonly string[] {
  const known = entities.filter((entity) => dataSource.hasMetadata(entity)).map((entity) => dataSource.getMetadata(entity));
  return known.filter(({ tableType }) => tableType === 'regular').map(({ tablePath }) => quotedPath(dataSource, tablePath));
}

class PositionsOfOne extends Map<number, number> implements Positions {
  generation: number | undefined;
}

const claimOf = (consumer: string, row: ConsumerRow, rest: Pick<Claim, 'checkpoints' | 'heads' | 'wentBack'>): Claim => ({
  consumer,
  generation: row.live_generation,
  version: row.live_version,
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
