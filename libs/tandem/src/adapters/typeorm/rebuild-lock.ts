/** One worker at a time changes the tables of a rebuild on MySQL, where DDL commits by itself: a lock of the database's session, which is gone with the session. */
import { createHash } from 'node:crypto';
import type { Rebuild } from '../../read/projection/rebuild/rebuild-store.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/** A session that sends nothing for so long is ended by the server: its process was stopped, and another worker takes over. */
const SILENT_S = 10;
/** Readers that come after DDL wait for it, so it does not wait for long readers. */
const DDL_WAIT_S = 1;

/** False: another worker has it. The session has settings of its own from then on, and must not go back to its pool. */
export async function lockForDdl(session: Sql, { consumer }: Pick<Rebuild, 'consumer'>, tables: TableNames): Promise<boolean> {
  await session.query(`SET SESSION wait_timeout = ${SILENT_S}, SESSION lock_wait_timeout = ${DDL_WAIT_S}`);
  const [database] = await session.query<{ name: string }[]>('SELECT DATABASE() AS name');
  const name = createHash('sha256').update(`${database!.name}\n${tables.rebuild}\n${consumer}`).digest('hex').slice(0, 40);
  const [lock] = await session.query<{ taken: number | string }[]>('SELECT GET_LOCK(?, 0) AS taken', [`tandem_${name}`]);
  return Number(lock!.taken) === 1;
}
