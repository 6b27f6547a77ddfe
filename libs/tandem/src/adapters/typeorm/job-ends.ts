/**
 * MariaDB only: jobs that end with the unit their handler ran in. "Done" goes into the block that appends and commits, also where there is nothing to append.
 * A job that has been taken over leaves the block by SIGNAL, before COMMIT. Elsewhere "done" is a statement of its own (job-groups.ts).
 */
import type { JobTicket } from '../../jobs/job-store.js';
import { TandemError } from '../../kernel/errors.js';
import { signal } from './block.js';
import { completeJobs, epochParams, inEpoch } from './job-groups.js';
import { LastActs } from './last-acts.js';
import type { BoundText, Sql } from './sql.js';
import type { TableNames } from './table-names.js';

export const endingJobs = new LastActs<JobTicket>('ending-jobs');

export const staleJob = ({ epoch, id }: JobTicket): TandemError => new TandemError('TANDEM_JOB_STALE', `Job ${id} is no longer in run ${epoch}`);

const STALE = 'stale';

/** Statements of a block. */
export function endTexts(jobs: readonly JobTicket[], tables: TableNames): BoundText[] {
  if (jobs.length === 0) return [];
  const text = `UPDATE ${tables.job} SET state = 'done', last_error = NULL, sequence_key = NULL, run_at = UTC_TIMESTAMP(6), finished_at = UTC_TIMESTAMP(6)
      WHERE id IN (?) AND ${inEpoch(jobs)} AND state = 'running'; IF ROW_COUNT() <> ${jobs.length} THEN ${signal(STALE)} END IF`;
  return [{ text, params: [jobs.map(({ id }) => id), ...epochParams(jobs)] }];
}

/** What a block's signal says of its jobs. */
export function staleIn(said: string | undefined, jobs: readonly JobTicket[]): TandemError | undefined {
  if (said !== STALE) return undefined;
  return jobs.length === 1 ? staleJob(jobs[0]!) : new TandemError('TANDEM_JOB_STALE', `One of the ${jobs.length} jobs of this unit is no longer in its run`);
}

/** In statements of their own. @throws TANDEM_JOB_STALE */
export async function writeEnds(sql: Sql, jobs: readonly JobTicket[], tables: TableNames): Promise<void> {
  if (jobs.length === 0) return;
  const ended = await completeJobs(sql, jobs, tables);
  const stale = jobs.find((_, i) => !ended[i]);
  if (stale) throw staleJob(stale);
}
