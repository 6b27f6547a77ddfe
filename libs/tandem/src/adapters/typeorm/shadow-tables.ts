import type { Type } from '@nestjs/common';
import type { DataSource, QueryRunner } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { type Rebuild, type ShadowModel, ShadowTables, type ShadowTable, type SwapRequest, type SwapResult } from '../../read/projection/rebuild/rebuild-store.js';
import type { RowStore } from '../../read/projection/row-store.js';
import { acquire } from './acquire.js';
import { dialectOf } from './driver-link.js';
import { missingRows } from './missing-rows.js';
import { MySqlSwap } from './mysql-swap.js';
import type { PooledConnection } from './pooled-connection.js';
import { PostgresSwap } from './postgres-swap.js';
import { quotedPath } from './quoted-path.js';
import { lockForDdl } from './rebuild-lock.js';
import { TypeOrmRowStore } from './row-store.js';
import { ShadowDdl } from './shadow-ddl.js';
import { shadowNames } from './shadow-names.js';
import { hindrances } from './shadow-hindrances.js';
import type { Shadows } from './shadow-manager.js';
import { type Sql, sqlOutside } from './sql.js';
import { isRetryable } from './sql-errors.js';
import type { TableNames } from './table-names.js';

const DROP_WAIT_S = 5;

/** Tables beside the live ones, on MySQL, MariaDB and PostgreSQL. */
export class TypeOrmShadowTables extends ShadowTables {
  private readonly ddl: ShadowDdl;

  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {
    super();
    this.ddl = new ShadowDdl(dataSource);
  }

  override names(entities: readonly Type[], generation: number, liveGeneration = generation - 1): readonly ShadowTable[] {
    return entities.map((entity) => {
      if (!this.dataSource.hasMetadata(entity)) throw new TandemError('TANDEM_WIRING', `${entity.name} is no entity of the data source that Tandem uses`);
      const { name, tablePath, tableType } = this.dataSource.getMetadata(entity);
      if (tableType !== 'regular') throw new TandemError('TANDEM_REBUILD_REFUSED', `${name} is a ${tableType}, not a table of its own`);
      return shadowNames(name, tablePath, { generation, live: liveGeneration });
    });
  }

  override problems(entities: readonly Type[]): Promise<readonly string[]> {
    const paths = entities.map((entity) => this.dataSource.getMetadata(entity).tablePath);
    return sqlOutside(this.dataSource, async (sql) => {
      const found: string[] = [];
      for (const path of paths) found.push(...(await hindrances(sql, path, quotedPath(this.dataSource, path))));
      return found;
    });
  }

  /** Of several workers that look and then make the same table, all but one would fail; and who comes late must not make it again when it has taken the place of the live one. */
  override async create(rebuild: Rebuild, model: ShadowModel): Promise<boolean> {
    const session = await acquire(this.dataSource, 'worker');
    const isMysql = session.dialect === 'mysql';
    try {
      if (!isMysql) await session.begin('write');
      if ((isMysql && !(await lockForDdl(session, rebuild, this.tables))) || !(await this.isCreating(session, rebuild))) return false;
      for (const statement of await this.ddl.statements(watched(session), rebuild.tables, model)) await session.query(statement);
      await session.commit();
      return true;
    } finally {
      await session.rollback();
      if (isMysql) session.spoil('its settings are those of DDL');
      await session.release();
    }
  }

  /** On PostgreSQL this is the lock. */
  private async isCreating(sql: Sql, { consumer, generation }: Rebuild): Promise<boolean> {
    const rows = await sql.query<unknown[]>(`SELECT 1 AS mine FROM ${this.tables.rebuild} WHERE consumer = ? AND generation = ? AND state = 'creating' FOR UPDATE SKIP LOCKED`, [
      consumer,
      generation,
    ]);
    return rows.length > 0;
  }

  override async script(tables: readonly ShadowTable[], model: ShadowModel): Promise<readonly string[]> {
    const runner = this.dataSource.createQueryRunner();
    try {
      return [...(await this.ddl.statements(runner, tables, model)), ...(await this.ddl.rights(runner, tables))];
    } finally {
      await runner.release();
    }
  }

  override rows(tables: readonly ShadowTable[], entities: readonly Type[]): RowStore {
    return new TypeOrmRowStore(this.dataSource, this.shadows(tables, entities));
  }

  override async missingRows(tables: readonly ShadowTable[], entities: readonly Type[], caughtUp: () => Promise<boolean>): Promise<number> {
    let missing = 0;
    for (const [entity, shadow] of this.shadows(tables, entities)) missing += await missingRows(this.dataSource, entity, shadow, caughtUp);
    return missing;
  }

  override swap(request: SwapRequest): Promise<SwapResult> {
    const swap = dialectOf(this.dataSource) === 'mysql' ? new MySqlSwap(this.dataSource, this.tables) : new PostgresSwap(this.dataSource, this.tables);
    return swap.run(request);
  }

  override async drop({ state, tables }: Rebuild): Promise<void> {
    const paths = state === 'swapped' ? tables.map(({ old }) => old) : state === 'cancelled' ? tables.map(({ shadow }) => shadow) : [];
    const session = await acquire(this.dataSource, 'worker');
    try {
      // A long reader may still have the old one.
      if (session.dialect === 'mysql') await session.query(`SET SESSION lock_wait_timeout = ${DROP_WAIT_S}`);
      for (const path of paths) await session.query(`DROP TABLE IF EXISTS ${quotedPath(this.dataSource, path)}`);
    } catch (error) {
      if (isRetryable(error)) throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `${paths.join(', ')} is still being read and is dropped later`, { cause: error });
      throw error;
    } finally {
      if (session.dialect === 'mysql') session.spoil('its settings are those of a drop');
      await session.release();
    }
  }

  /** The code may have given up an entity that the rebuild was begun with, or have a new one: then it is another version. */
  private shadows(tables: readonly ShadowTable[], entities: readonly Type[]): Shadows {
    return new Map(
      entities.map((entity) => {
        const { name, tablePath } = this.dataSource.getMetadata(entity);
        const table = tables.find(({ live }) => live === tablePath);
        if (!table)
          throw new TandemError('TANDEM_REBUILD_REFUSED', `The rebuild that was begun has no table for ${name}`, {
            next: 'Cancel it and call rebuild again; raise `version` with such a change.',
          });
        return [entity, table.shadow] as const;
      }),
    );
  }
}

/** Its runner, whose statements have the session's limit of time too. */
function watched(session: PooledConnection): QueryRunner {
  const { runner } = session;
  const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
  return Object.assign(runner, { query: (text: string, ...rest: unknown[]) => session.watch(text, () => query(text, ...rest)) });
}
