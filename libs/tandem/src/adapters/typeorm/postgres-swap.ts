/** PostgreSQL's DDL is part of a transaction, so renaming and making the generation live are one; the rebuild's row is the lock. */
import type { DataSource } from 'typeorm';
import type { Rebuild, ShadowTable, SwapRequest, SwapResult } from '../../read/projection/rebuild/rebuild-store.js';
import { quotedPath } from './quoted-path.js';
import { repeated } from './repeated.js';
import { tableOf } from './shadow-names.js';
import { isRetryable } from './sql-errors.js';
import { type Sql, sqlTransaction } from './sql.js';
import { freeze, lockCaughtUp, makeLive, unfreeze } from './swap-states.js';
import type { TableNames } from './table-names.js';

/** Readers that come after it wait for it, so it does not wait for long readers. */
const LOCK_WAIT = '1s';
const TRIES = 5;

/** An index, and what it is apart from its name. */
interface Index {
  readonly name: string;
  readonly definition: string;
  readonly is_constraint: boolean;
}

export class PostgresSwap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {}

  async run({ catchUp, rebuild }: SwapRequest): Promise<SwapResult> {
    if (!(await repeated(() => sqlTransaction(this.dataSource, (sql) => freeze(sql, rebuild, this.tables))))) return 'busy';
    let outcome: SwapResult = 'aborted';
    try {
      for (let tries = 0; outcome === 'aborted' && tries < TRIES && (await catchUp()); tries++) outcome = await this.tried(rebuild);
    } finally {
      if (outcome === 'aborted') await repeated(() => sqlTransaction(this.dataSource, (sql) => unfreeze(sql, rebuild, this.tables)));
    }
    return outcome;
  }

  private async tried(rebuild: Rebuild): Promise<SwapResult> {
    try {
      return await sqlTransaction(this.dataSource, (sql) => this.swap(sql, rebuild));
    } catch (error) {
      if (isRetryable(error)) return 'aborted';
      throw error;
    }
  }

  private async swap(sql: Sql, rebuild: Rebuild): Promise<SwapResult> {
    const { consumer, generation } = rebuild;
    await sql.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`);
    await sql.query(`SELECT name FROM ${this.tables.consumer} WHERE name = ? FOR UPDATE`, [consumer]);
    const mine = await sql.query<unknown[]>(`SELECT 1 AS mine FROM ${this.tables.rebuild} WHERE consumer = ? AND generation = ? AND state = 'swapping' FOR UPDATE`, [
      consumer,
      generation,
    ]);
    if (mine.length === 0) return 'busy';
    if (!(await lockCaughtUp(sql, rebuild, this.tables))) return 'aborted';
    for (const table of rebuild.tables) await this.rename(sql, table);
    await makeLive(sql, rebuild, this.tables);
    return 'swapped';
  }

  private async rename(sql: Sql, { live, old, shadow }: ShadowTable): Promise<void> {
    const { driver } = this.dataSource;
    const quoted = (path: string): string => quotedPath(this.dataSource, path);
    await sql.query(`LOCK TABLE ${quoted(live)}, ${quoted(shadow)} IN ACCESS EXCLUSIVE MODE`);
    const names = await this.indexes(sql, live);
    await this.handOverSequences(sql, live, shadow);
    await sql.query(`ALTER TABLE ${quoted(live)} RENAME TO ${driver.escape(tableOf(old))}`);
    await sql.query(`ALTER TABLE ${quoted(shadow)} RENAME TO ${driver.escape(tableOf(live))}`);
    // In the same transaction: its indexes have the names that those of the new one are to get.
    await sql.query(`DROP TABLE ${quoted(old)}`);
    await this.nameIndexes(sql, live, names);
  }

  private indexes(sql: Sql, path: string): Promise<Index[]> {
    return sql.query<Index[]>(
      `SELECT c.relname AS name, (i.indisunique::text || i.indisprimary::text || substring(pg_get_indexdef(i.indexrelid) from ' USING .*$')) AS definition,
         EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid) AS is_constraint
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ?::regclass ORDER BY c.relname`,
      [quotedPath(this.dataSource, path)],
    );
  }

  /** A later rebuild, and TypeORM's comparison of entities with tables, find the names that were there. */
  private async nameIndexes(sql: Sql, path: string, before: readonly Index[]): Promise<void> {
    const free = [...before];
    for (const { definition, is_constraint, name } of await this.indexes(sql, path)) {
      const at = free.findIndex((index) => index.definition === definition);
      const wanted = at < 0 ? this.nameOfEntity(path, definition) : free.splice(at, 1)[0]!.name;
      if (wanted === undefined || wanted === name) continue;
      const { driver } = this.dataSource;
      if (is_constraint) await sql.query(`ALTER TABLE ${quotedPath(this.dataSource, path)} RENAME CONSTRAINT ${driver.escape(name)} TO ${driver.escape(wanted)}`);
      else await sql.query(`ALTER INDEX ${quotedPath(this.dataSource, [...path.split('.').slice(0, -1), name].join('.'))} RENAME TO ${driver.escape(wanted)}`);
    }
  }

  /** Of an index that only the new table has. */
  private nameOfEntity(path: string, definition: string): string | undefined {
    const metadata = this.dataSource.entityMetadatas.find(({ tablePath }) => tablePath === path);
    const columns = /\(([^)]*)\)/
      .exec(definition)?.[1]
      ?.split(', ')
      .map((column) => column.replaceAll('"', ''));
    if (!metadata || !columns) return undefined;
    const same = (others: readonly { readonly databaseName: string }[]): boolean => others.map(({ databaseName }) => databaseName).join() === columns.join();
    if (definition.startsWith('truetrue')) return this.dataSource.namingStrategy.primaryKeyName(tableOf(path), columns);
    return metadata.uniques.find((unique) => same(unique.columns))?.name ?? metadata.indices.find((index) => same(index.columns))?.name;
  }

  /** A serial column's sequence would go with the old table. */
  private async handOverSequences(sql: Sql, live: string, shadow: string): Promise<void> {
    const owned = await sql.query<{ sequence: string; column: string }[]>(
      `SELECT s.oid::regclass::text AS sequence, a.attname AS "column" FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
       JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.refobjid = ?::regclass AND d.deptype = 'a'`,
      [quotedPath(this.dataSource, live)],
    );
    for (const { column, sequence } of owned)
      await sql.query(`ALTER SEQUENCE ${sequence} OWNED BY ${quotedPath(this.dataSource, shadow)}.${this.dataSource.driver.escape(column)}`);
  }
}
