import type { JobTicket, NewJob } from '../../jobs/job-store.js';
import { expressionsOf } from './dialect.js';
import { insertChunks } from './insert-chunks.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/** Leaves out jobs whose dedupe key exists. MySQL: not INSERT IGNORE, which would also cut values that are too long. */
export async function insertJobs(sql: Sql, jobs: readonly NewJob[], tables: TableNames): Promise<readonly JobTicket[]> {
  const inserted = new Set<string>();
  for (const chunk of insertChunks(jobs, (job) => Buffer.byteLength(job.payload) + Buffer.byteLength(job.metadata))) {
    for (const id of sql.dialect === 'mysql' ? await insertMysql(sql, chunk, tables) : await insertPostgres(sql, chunk, tables)) inserted.add(id);
  }
  return jobs.filter(({ id }) => inserted.has(id)).map(({ id, queue }) => ({ id, epoch: 0, queue }));
}

async function insertPostgres(sql: Sql, jobs: readonly NewJob[], tables: TableNames): Promise<string[]> {
  const { text, params } = insertText(sql, jobs, tables);
  return (await sql.query<{ id: string }[]>(`${text} ON CONFLICT DO NOTHING RETURNING id`, params)).map(({ id }) => id);
}

async function insertMysql(sql: Sql, jobs: readonly NewJob[], tables: TableNames): Promise<string[]> {
  const { text, params } = insertText(sql, jobs, tables);
  await sql.query(`${text} ON DUPLICATE KEY UPDATE id = ${tables.job}.id`, params);
  const ids = jobs.map(({ id }) => id);
  if (jobs.every(({ dedupeKey }) => dedupeKey === null)) return ids;
  return (await sql.query<{ id: string }[]>(`SELECT id FROM ${tables.job} WHERE id IN (?)`, [ids])).map(({ id }) => id);
}

function insertText(sql: Sql, jobs: readonly NewJob[], tables: TableNames): { text: string; params: unknown[] } {
  const { now, later } = expressionsOf(sql.dialect);
  const row = `(?, ?, ?, ?, ?, ?, 'waiting', 0, 0, ${later}, ${now})`;
  return {
    text: `INSERT INTO ${tables.job} (id, name, queue, payload, metadata, dedupe_key, state, attempts, epoch, run_at, created_at) VALUES ${jobs.map(() => row).join(', ')}`,
    params: jobs.flatMap(({ id, name, queue, payload, metadata, dedupeKey, delayMs }) => [id, name, queue, payload, metadata, dedupeKey, Math.round(delayMs)]),
  };
}
