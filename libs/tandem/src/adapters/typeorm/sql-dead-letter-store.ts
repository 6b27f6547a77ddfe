import type { DataSource } from 'typeorm';
import { DeadLetterStore, type DeadLetter, type DeadLetterState, type LetterFilter as ListFilter, type NewDeadLetter } from '../../events/dead-letter-store.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { expressionsOf } from './dialect.js';
import { repeated } from './repeated.js';
import { shortText } from './short-text.js';
import { sqlAt, sqlOf, sqlOutside, sqlTransaction, type BoundText, type Dialect, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const COLUMNS = 'consumer, generation, tenant, stream, shard, seq, event_id, type, state, attempts, error';
const DEFAULT_LIMIT = 1_000;

interface Row {
  readonly consumer: string;
  readonly generation: number;
  readonly tenant: string;
  readonly stream: string;
  readonly shard: number;
  readonly seq: number | string;
  readonly event_id: string;
  readonly type: string;
  readonly state: DeadLetterState;
  readonly attempts: number;
  readonly error: string;
  readonly due: number | string;
}

interface LetterFilter {
  readonly consumer: string;
  readonly tenant?: string;
  readonly stream?: string;
}

const letterOf = ({ event_id, seq, due, ...row }: Row): DeadLetter => ({ ...row, seq: Number(seq), eventId: event_id, due: Number(due) === 1 });

const isDue = (dialect: Dialect): string => `state IN ('retrying', 'discarded') AND next_at <= ${expressionsOf(dialect).now}`;
const selectColumns = (dialect: Dialect): string => `${COLUMNS}, CASE WHEN ${isDue(dialect)} THEN 1 ELSE 0 END AS due`;

/** Held streams on MySQL, MariaDB and PostgreSQL. */
export class SqlDeadLetterStore extends DeadLetterStore {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {
    super();
  }

  async hold(unit: Unit, letter: NewDeadLetter): Promise<void> {
    const sql = sqlOf(unit);
    const { now, later, orReplace } = expressionsOf(sql.dialect);
    const replaced = ['shard', 'seq', 'event_id', 'type', 'state', 'attempts', 'error', 'next_at', 'updated_at'];
    await sql.query(
      `INSERT INTO ${this.tables.deadLetter} (${COLUMNS}, next_at, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ${later}, ${now}, ${now})
       ${orReplace(['consumer', 'generation', 'tenant', 'stream'], replaced)}`,
      [
        letter.consumer,
        letter.generation,
        letter.tenant,
        letter.stream,
        letter.shard,
        letter.seq,
        letter.eventId,
        letter.type,
        letter.state,
        letter.attempts,
        shortText(letter.error),
        Math.round(letter.retryInMs),
      ],
    );
  }

  async release(unit: Unit, letter: Pick<DeadLetter, 'consumer' | 'generation' | 'tenant' | 'stream'>): Promise<void> {
    const { consumer, generation, tenant, stream } = letter;
    await sqlOf(unit).query(`DELETE FROM ${this.tables.deadLetter} WHERE consumer = ? AND generation = ? AND tenant = ? AND stream = ?`, [consumer, generation, tenant, stream]);
  }

  async held(unit: Unit, consumer: string, generation: number | 'live', shards: readonly number[]): Promise<readonly DeadLetter[]> {
    if (shards.length === 0) return [];
    const { consumer: consumers, rebuild } = this.tables;
    const which =
      generation === 'live'
        ? {
            text: `(SELECT live_generation FROM ${consumers} WHERE name = ? UNION ALL SELECT generation FROM ${rebuild} WHERE consumer = ? AND state = 'swapping')`,
            params: [consumer, consumer],
          }
        : { text: '(?)', params: [generation] };
    const rows = await sqlAt(this.dataSource, unit, (sql) =>
      sql.query<Row[]>(
        `SELECT ${selectColumns(sql.dialect)} FROM ${this.tables.deadLetter} WHERE consumer = ? AND generation IN ${which.text} AND shard IN (?) ORDER BY shard, seq`,
        [consumer, ...which.params, shards],
      ),
    );
    return rows.map(letterOf);
  }

  async list(filter: ListFilter = {}): Promise<readonly DeadLetter[]> {
    const { consumer, consumers = consumer === undefined ? undefined : [consumer], generation, due = false, limit = DEFAULT_LIMIT } = filter;
    if (consumers?.length === 0) return [];
    return sqlOutside(this.dataSource, async (sql) => {
      const conditions = ['1 = 1'];
      if (consumers) conditions.push('consumer IN (?)');
      if (generation !== undefined) conditions.push('generation = ?');
      else if (due) conditions.push(`generation = (SELECT live_generation FROM ${this.tables.consumer} WHERE name = ${this.tables.deadLetter}.consumer)`);
      if (due) conditions.push(isDue(sql.dialect));
      const rows = await sql.query<Row[]>(
        `SELECT ${selectColumns(sql.dialect)} FROM ${this.tables.deadLetter} WHERE ${conditions.join(' AND ')} ORDER BY created_at, shard, seq LIMIT ?`,
        [...(consumers ? [consumers] : []), ...(generation === undefined ? [] : [generation]), limit],
      );
      return rows.map(letterOf);
    });
  }

  async dueConsumers(consumers: readonly string[]): Promise<readonly string[]> {
    if (consumers.length === 0) return [];
    const rows = await sqlOutside(this.dataSource, (sql) =>
      sql.query<{ consumer: string }[]>(
        `SELECT DISTINCT consumer FROM ${this.tables.deadLetter} l WHERE ${isDue(sql.dialect)} AND consumer IN (?)
         AND generation = (SELECT live_generation FROM ${this.tables.consumer} WHERE name = l.consumer)`,
        [consumers],
      ),
    );
    return rows.map(({ consumer }) => consumer);
  }

  retryNow(filter: LetterFilter): Promise<number> {
    return this.makeDue(filter, { text: "state = 'retrying', attempts = 0", params: [] });
  }

  discard(filter: LetterFilter, reason: string): Promise<number> {
    return this.makeDue(filter, { text: "state = 'discarded', error = ?", params: [shortText(`discarded: ${reason}`)] });
  }

  /** In a transaction of its own that waits for running batches of those shards. */
  private makeDue(filter: LetterFilter, set: BoundText): Promise<number> {
    const given = (['consumer', 'tenant', 'stream'] as const).filter((column) => filter[column] !== undefined);
    const which = { where: given.map((column) => `${column} = ?`).join(' AND '), params: given.map((column) => filter[column]!) };
    return repeated(() => sqlTransaction(this.dataSource, (sql) => this.change(sql, which, set)));
  }

  private async change(sql: Sql, { where, params }: { where: string; params: readonly string[] }, set: BoundText): Promise<number> {
    const { deadLetter, checkpoint } = this.tables;
    const rows = await sql.query<{ shard: number }[]>(`SELECT DISTINCT shard FROM ${deadLetter} WHERE ${where}`, params);
    if (rows.length === 0) return 0;
    const shards = rows.map(({ shard }) => shard);
    await sql.query(`SELECT shard FROM ${checkpoint} WHERE consumer = ? AND shard IN (?) ORDER BY generation, shard FOR UPDATE`, [params[0], shards]);
    const { now } = expressionsOf(sql.dialect);
    const reply = await sql.query<{ affectedRows: number }>(`UPDATE ${deadLetter} SET ${set.text}, next_at = ${now}, updated_at = ${now} WHERE ${where} AND shard IN (?)`, [
      ...set.params,
      ...params,
      shards,
    ]);
    return reply.affectedRows;
  }
}
