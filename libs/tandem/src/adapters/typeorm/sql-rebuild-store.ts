import type { Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type Allowed, type NewRebuild, type Rebuild, type RebuildState, RebuildStore, type ShadowTable } from '../../read/projection/rebuild/rebuild-store.js';
import { expressionsOf } from './dialect.js';
import { quotedPath } from './quoted-path.js';
import { repeated } from './repeated.js';
import { shortText } from './short-text.js';
import { type Sql, sqlAt, sqlOutside, sqlTransaction } from './sql.js';
import type { TableNames } from './table-names.js';

interface Row {
  readonly consumer: string;
  readonly generation: number;
  readonly version: number;
  readonly state: RebuildState;
  readonly state_reason: string | null;
  readonly tables: string;
  readonly allowed: string;
  readonly live_generation: number;
  readonly age: number | string;
  readonly state_age: number | string;
}

const rebuildOf = (row: Row): Rebuild => ({
  consumer: row.consumer,
  generation: row.generation,
  version: row.version,
  state: row.state,
  reason: row.state_reason,
  tables: JSON.parse(row.tables) as ShadowTable[],
  allowed: JSON.parse(row.allowed) as Allowed,
  liveGeneration: row.live_generation,
  ageMs: Number(row.age) / 1_000,
  stateAgeMs: Number(row.state_age) / 1_000,
});

/** Rebuilds on MySQL, MariaDB and PostgreSQL. Lock order: the consumer's row, the rebuild's, checkpoints by generation and shard. */
export class SqlRebuildStore extends RebuildStore {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {
    super();
  }

  begin(request: NewRebuild): Promise<Rebuild> {
    return repeated(() => sqlTransaction(this.dataSource, (sql) => this.beginIn(sql, request)));
  }

  private async beginIn(sql: Sql, { allowed, consumer, tables, version }: NewRebuild): Promise<Rebuild> {
    const { now } = expressionsOf(sql.dialect);
    // Of several at once the first has begun it when the second may go on.
    const lastGeneration = await this.lockConsumer(sql, consumer);
    const [there] = await this.read(sql, consumer);
    if (there) return this.joined(sql, there, { allowed, version });
    const generation = lastGeneration + 1;
    await sql.query(`UPDATE ${this.tables.consumer} SET last_generation = ?, updated_at = ${now} WHERE name = ?`, [generation, consumer]);
    await sql.query(
      `INSERT INTO ${this.tables.rebuild} (consumer, generation, version, state, tables, allowed, created_at, updated_at) VALUES (?, ?, ?, 'creating', ?, ?, ${now}, ${now})`,
      [consumer, generation, version, JSON.stringify(tables(generation)), JSON.stringify(allowed)],
    );
    await this.insertCheckpoints(sql, consumer, generation);
    return (await this.read(sql, consumer))[0]!;
  }

  private async joined(sql: Sql, there: Rebuild, { allowed, version }: Pick<NewRebuild, 'allowed' | 'version'>): Promise<Rebuild> {
    if (there.version !== version)
      throw new TandemError('TANDEM_REBUILD_RUNNING', `${there.consumer} is being rebuilt by version ${there.version} of its code, and this is version ${version}`, {
        data: { version: there.version },
      });
    if (there.state !== 'swapped' && there.state !== 'cancelled') {
      const merged: Allowed = {
        deadLetters: allowed.deadLetters || there.allowed.deadLetters,
        rowsWithoutEvents: allowed.rowsWithoutEvents || there.allowed.rowsWithoutEvents,
      };
      // From its tables on: what was amiss with them may be what blocked it.
      await sql.query(
        `UPDATE ${this.tables.rebuild} SET state = CASE state WHEN 'blocked' THEN 'creating' ELSE state END, state_reason = NULL, allowed = ?, updated_at = ${expressionsOf(sql.dialect).now} WHERE consumer = ? AND generation = ?`,
        [JSON.stringify(merged), there.consumer, there.generation],
      );
    }
    return (await this.read(sql, there.consumer))[0]!;
  }

  list(consumer?: string): Promise<readonly Rebuild[]> {
    return sqlOutside(this.dataSource, (sql) => this.read(sql, consumer));
  }

  async nextGeneration(consumer: string): Promise<number> {
    return sqlOutside(this.dataSource, async (sql) => {
      const [row] = await sql.query<{ last_generation: number }[]>(`SELECT last_generation FROM ${this.tables.consumer} WHERE name = ?`, [consumer]);
      if (!row) throw notRegistered(consumer);
      return row.last_generation + 1;
    });
  }

  async change(
    { consumer, generation }: Rebuild,
    from: readonly RebuildState[],
    { reason, state }: { readonly state: RebuildState; readonly reason?: string },
    unit?: Unit,
  ): Promise<boolean> {
    const set = async (sql: Sql) => {
      const reply = await sql.query<{ affectedRows: number }>(
        `UPDATE ${this.tables.rebuild} SET state = ?, state_reason = ?, updated_at = ${expressionsOf(sql.dialect).now} WHERE consumer = ? AND generation = ? AND state IN (?)`,
        [state, reason === undefined ? null : shortText(reason), consumer, generation, from],
      );
      // Batches that have begun end, before somebody takes the tables away from under them.
      if (state === 'cancelled')
        await sql.query(`SELECT shard FROM ${this.tables.checkpoint} WHERE consumer = ? AND generation = ? ORDER BY shard FOR UPDATE`, [consumer, generation]);
      return reply.affectedRows > 0;
    };
    return unit ? sqlAt(this.dataSource, unit, set) : repeated(() => sqlTransaction(this.dataSource, set));
  }

  async positions(consumer: string, generation: number): Promise<ReadonlyMap<number, number>> {
    const rows = await sqlOutside(this.dataSource, (sql) =>
      sql.query<{ shard: number; seq: number | string }[]>(`SELECT shard, seq FROM ${this.tables.checkpoint} WHERE consumer = ? AND generation = ?`, [consumer, generation]),
    );
    return new Map(rows.map(({ shard, seq }) => [shard, Number(seq)]));
  }

  async forget({ consumer, generation, state }: Rebuild): Promise<void> {
    if (state !== 'swapped' && state !== 'cancelled') return;
    const { checkpoint, deadLetter, rebuild } = this.tables;
    await repeated(() =>
      sqlTransaction(this.dataSource, async (sql) => {
        const reply = await sql.query<{ affectedRows: number }>(`DELETE FROM ${rebuild} WHERE consumer = ? AND generation = ? AND state = ?`, [consumer, generation, state]);
        if (reply.affectedRows === 0) return;
        const gone = state === 'swapped' ? 'generation < ?' : 'generation = ?';
        for (const table of [checkpoint, deadLetter]) await sql.query(`DELETE FROM ${table} WHERE consumer = ? AND ${gone}`, [consumer, generation]);
      }),
    );
  }

  async reset(consumer: string, version: number, entities: readonly Type[]): Promise<void> {
    const { checkpoint, consumer: consumers, deadLetter } = this.tables;
    const rowTables = entities.map((entity) => quotedPath(this.dataSource, this.dataSource.getMetadata(entity).tablePath));
    await repeated(() =>
      sqlTransaction(this.dataSource, async (sql) => {
        const generation = (await this.lockConsumer(sql, consumer)) + 1;
        if ((await this.read(sql, consumer)).length > 0) throw new TandemError('TANDEM_REBUILD_RUNNING', `${consumer} is being rebuilt`);
        await sql.query(`SELECT shard FROM ${checkpoint} WHERE consumer = ? ORDER BY generation, shard FOR UPDATE`, [consumer]);
        for (const table of rowTables) await sql.query(`DELETE FROM ${table}`);
        for (const table of [checkpoint, deadLetter]) await sql.query(`DELETE FROM ${table} WHERE consumer = ?`, [consumer]);
        // A new generation: what is cached of the old one, and who still holds its claim, can tell.
        await this.insertCheckpoints(sql, consumer, generation);
        await sql.query(
          `UPDATE ${consumers} SET live_generation = ?, last_generation = ?, live_version = ?, state = 'running', state_reason = NULL, updated_at = ${expressionsOf(sql.dialect).now} WHERE name = ?`,
          [generation, generation, version, consumer],
        );
      }),
    );
  }

  private async lockConsumer(sql: Sql, consumer: string): Promise<number> {
    const [row] = await sql.query<{ last_generation: number }[]>(`SELECT last_generation FROM ${this.tables.consumer} WHERE name = ? FOR UPDATE`, [consumer]);
    if (!row) throw notRegistered(consumer);
    return row.last_generation;
  }

  private async insertCheckpoints(sql: Sql, consumer: string, generation: number): Promise<void> {
    await sql.query(
      `INSERT INTO ${this.tables.checkpoint} (consumer, generation, shard, seq, event_id) SELECT ?, ${Number(generation)}, shard, 0, NULL FROM ${this.tables.shard}`,
      [consumer],
    );
  }

  private async read(sql: Sql, consumer?: string): Promise<readonly Rebuild[]> {
    const { micros, now } = expressionsOf(sql.dialect);
    const rows = await sql.query<Row[]>(
      `SELECT r.consumer, r.generation, r.version, r.state, r.state_reason, r.tables, r.allowed, c.live_generation, ${micros(now)} - ${micros('r.created_at')} AS age,
         ${micros(now)} - ${micros('r.updated_at')} AS state_age
       FROM ${this.tables.rebuild} r JOIN ${this.tables.consumer} c ON c.name = r.consumer ${consumer === undefined ? '' : 'WHERE r.consumer = ?'} ORDER BY r.consumer`,
      consumer === undefined ? [] : [consumer],
    );
    return rows.map(rebuildOf);
  }
}

const notRegistered = (consumer: string): TandemError => new TandemError('TANDEM_WIRING', `No consumer named "${consumer}" is registered`);
