import type { ChangedJob, JobChange, JobState, JobTicket } from '../../jobs/job-store.js';
import { expressionsOf } from './dialect.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

interface Row extends JobTicket {
  readonly state: JobState;
  readonly sequenceKey: string | null;
}

/** Locks the row first, so that what is told about the job is still so at COMMIT. */
async function jobForChange(sql: Sql, id: string, tables: TableNames): Promise<Row | undefined> {
  const { as } = expressionsOf(sql.dialect);
  const [row] = await sql.query<Row[]>(`SELECT id, epoch, queue, priority, state, sequence_key AS ${as('sequenceKey')} FROM ${tables.job} WHERE id = ? FOR UPDATE`, [id]);
  return row;
}

const UNCHANGED: Readonly<Record<JobState, JobChange>> = { waiting: 'changed', held: 'held', parked: 'parked', running: 'running', done: 'ended', discarded: 'ended' };

export async function discardJob(sql: Sql, { id, reason }: { readonly id: string; readonly reason: string }, tables: TableNames): Promise<ChangedJob> {
  const job = await jobForChange(sql, id, tables);
  if (!job) return { change: 'missing' };
  if (job.state === 'running' || job.state === 'done' || job.state === 'discarded') return { change: UNCHANGED[job.state] };
  const { now } = expressionsOf(sql.dialect);
  await sql.query(`UPDATE ${tables.job} SET state = 'discarded', epoch = epoch + 1, last_error = ?, run_at = ${now}, finished_at = ${now}, sequence_key = NULL WHERE id = ?`, [
    reason,
    id,
  ]);
  return { change: 'changed', left: job.sequenceKey ?? undefined };
}

export async function rescheduleJob(sql: Sql, { id, runAt }: { readonly id: string; readonly runAt?: Date }, tables: TableNames): Promise<ChangedJob> {
  const job = await jobForChange(sql, id, tables);
  if (!job) return { change: 'missing' };
  if (job.state !== 'waiting' && job.state !== 'held') return { change: UNCHANGED[job.state] };
  const { now, time } = expressionsOf(sql.dialect);
  await sql.query(`UPDATE ${tables.job} SET epoch = epoch + 1, run_at = ${runAt ? '?' : now} WHERE id = ?`, [...(runAt ? [time(runAt.getTime() * 1_000)] : []), id]);
  if (job.state === 'held') return { change: 'held' };
  const { epoch, queue, priority } = job;
  return { change: 'changed', ticket: { id, epoch: epoch + 1, queue, priority } };
}
