/**
 * MariaDB only: jobs that end with the unit their handler ran in. "Done" goes into the block that appends and commits, also where there is nothing to append.
 * A job that has been taken over leaves the block by SIGNAL, before COMMIT. Elsewhere "done" is a statement of its own (job-groups.ts).
 */
import type { JobTicket } from '../../jobs/job-store.js';
import { TandemError } from '../../kernel/errors.js';
import { signal } from './block.js';
import { completeJobs } from './job-groups.js';
import { LastActs } from './last-acts.js';
import type { BoundText, Sql } from './sql.js';
import type { TableNames } from './table-names.js';

export const endingJobs = new LastActs<JobTicket>('ending-jobs');

export const staleJob = ({ epoch, id }: JobTicket): TandemError => new TandemError('TANDEM_JOB_STALE', `Job ${id} is no longer in run ${epoch}`);

/** Statements of a block. */
export const endTexts = (jobs: readonly JobTicket[], tables: TableNames): BoundText[] =>
  jobs.map(({ epoch, id }, i) => ({
    text: `UPDATE ${tables.job} SET state = 'done', last_error = NULL, sequence_key = NULL, run_at = UTC_TIMESTAMP(6), finished_at = UTC_TIMESTAMP(6)
      WHERE id = ? AND epoch = ? AND state = 'running'; IF ROW_COUNT() <> 1 THEN ${signal(`stale:${i}`)} END IF`,
    params: [id, epoch],
  }));

/** What a block's signal says of its jobs. */
export function staleIn(said: string | undefined, jobs: readonly JobTicket[]): TandemError | undefined {
  const [what, i] = said?.split(':') ?? [];
  return what === 'stale' ? staleJob(jobs[Number(i)]!) : undefined;
}

/** In statements of their own. @throws TANDEM_JOB_STALE */
export async function writeEnds(sql: Sql, jobs: readonly JobTicket[], tables: TableNames): Promise<void> {
  if (jobs.length === 0) return;
  const ended = await completeJobs(sql, jobs, tables);
  const stale = jobs.find((_, i) => !ended[i]);
  if (stale) throw staleJob(stale);
}
