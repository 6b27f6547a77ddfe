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
  return jobs.filter(({ id }) => inserted.has(id)).map(({ id, queue, priority }) => ({ id, epoch: 0, queue, priority }));
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
  const { now, later, time } = expressionsOf(sql.dialect);
  const row = ({ runAt, sequenceKey }: NewJob) => `(?, ?, ?, ?, ?, ?, ?, '${sequenceKey === null ? 'waiting' : 'held'}', ?, 0, 0, ${runAt ? '?' : later}, ${now})`;
  const columns = 'id, name, queue, payload, metadata, dedupe_key, sequence_key, state, priority, attempts, epoch, run_at, created_at';
  return {
    text: `INSERT INTO ${tables.job} (${columns}) VALUES ${jobs.map(row).join(', ')}`,
    params: jobs.flatMap(({ id, name, queue, payload, metadata, dedupeKey, sequenceKey, priority, delayMs, runAt }) => [
      ...[id, name, queue, payload, metadata, dedupeKey, sequenceKey, priority],
      runAt ? time(runAt.getTime() * 1_000) : Math.round(delayMs),
    ]),
  };
}
