/**
 * MySQL's RENAME commits by itself, so between it and the step that makes the generation live a process may die: who recovers sees by
 * the table that exists how far the swap has come. One worker at a time does it, by a lock of the database's session; RENAME and
 * every change of state go through that same session, so that who has lost the lock can do nothing any more.
 */
import type { DataSource } from 'typeorm';
import type { Rebuild, SwapRequest, SwapResult } from '../../read/projection/rebuild/rebuild-store.js';
import { acquire } from './acquire.js';
import type { PooledConnection } from './pooled-connection.js';
import { quotedPath } from './quoted-path.js';
import { lockForDdl } from './rebuild-lock.js';
import { isRetryable } from './sql-errors.js';
import { freeze, lockCaughtUp, makeLive, unfreeze } from './swap-states.js';
import type { TableNames } from './table-names.js';

const RENAME_TRIES = 5;
const CATCH_UP_TRIES = 3;

export class MySqlSwap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {}

  async run(request: SwapRequest): Promise<SwapResult> {
    const session = await acquire(this.dataSource, 'worker');
    try {
      return (await lockForDdl(session, request.rebuild, this.tables)) ? await this.swap(session, request) : 'busy';
    } finally {
      session.spoil('its settings are those of a swap');
      await session.release();
    }
  }

  private async swap(session: PooledConnection, { catchUp, rebuild }: SwapRequest): Promise<SwapResult> {
    if (!(await this.inTransaction(session, () => freeze(session, rebuild, this.tables)))) return 'busy';
    if (await this.isRenamed(session, rebuild)) {
      await this.inTransaction(session, () => makeLive(session, rebuild, this.tables));
      return 'swapped';
    }
    let renamed = false;
    try {
      for (let tries = 0; !renamed && tries < CATCH_UP_TRIES && (await catchUp()); tries++) renamed = await this.renamed(session, rebuild);
    } finally {
      // Where RENAME went well and what follows it did not, the old generation must not go on with the new one's rows: the next try makes it live.
      if (!renamed && !(await this.isRenamed(session, rebuild))) await this.inTransaction(session, () => unfreeze(session, rebuild, this.tables));
    }
    return renamed ? 'swapped' : 'aborted';
  }

  /** Steps (c) and (d), while batches of the new generation are kept away from tables that are about to change their names. */
  private async renamed(session: PooledConnection, rebuild: Rebuild): Promise<boolean> {
    const holder = await acquire(this.dataSource, 'worker');
    try {
      await holder.begin('write');
      if (!(await lockCaughtUp(holder, rebuild, this.tables)) || !(await this.rename(session, rebuild))) return false;
      await this.inTransaction(session, () => makeLive(session, rebuild, this.tables));
      return true;
    } finally {
      await holder.rollback();
      await holder.release();
    }
  }

  private async rename(session: PooledConnection, { tables }: Rebuild): Promise<boolean> {
    const quoted = (path: string): string => quotedPath(this.dataSource, path);
    const steps = tables.flatMap(({ live, old, shadow }) => [`${quoted(live)} TO ${quoted(old)}`, `${quoted(shadow)} TO ${quoted(live)}`]);
    for (let tries = 1; ; tries++) {
      try {
        await session.query(`RENAME TABLE ${steps.join(', ')}`);
        return true;
      } catch (error) {
        if (!isRetryable(error)) throw error;
        if (tries === RENAME_TRIES) return false;
      }
    }
  }

  /** All at once, or none. */
  private async isRenamed(session: PooledConnection, { tables }: Rebuild): Promise<boolean> {
    for (const { old } of tables) {
      const [schema, table] = old.includes('.') ? old.split('.') : [undefined, old];
      const rows = await session.query<unknown[]>(
        `SELECT table_name FROM information_schema.tables WHERE table_schema = ${schema === undefined ? 'DATABASE()' : '?'} AND table_name = ?`,
        schema === undefined ? [table] : [schema, table],
      );
      if (rows.length === 0) return false;
    }
    return true;
  }

  private async inTransaction<T>(session: PooledConnection, work: () => Promise<T>): Promise<T> {
    await session.begin('write');
    try {
      const result = await work();
      await session.commit();
      return result;
    } catch (error) {
      await session.rollback();
      throw error;
    }
  }
}
