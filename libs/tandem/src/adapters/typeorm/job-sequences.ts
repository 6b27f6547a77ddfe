/**
 * Jobs with a sequence key take their numbers (`job_head`) as the unit's last act before COMMIT, under the lock of the key's shard and
 * with the events, so the order of numbers is the order of commits. What is committed with the lowest number of its key is its first
 * for good: whatever commits later has a higher one. So anybody may release it, at any time, as often as they like. A job that has
 * ended leaves its sequence: `sequence_key` is NULL from then on.
 */
import { shardOf } from '../../events/event-log.js';
import type { DelayedTicket, NewJob } from '../../jobs/job-store.js';
import { expressionsOf } from './dialect.js';
import { slices } from './insert-chunks.js';
import { LastActs } from './last-acts.js';
import type { BoundText, Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const NUMBERED_AT_ONCE = 500;
const RELEASED_AT_ONCE = 200;

export interface SequencedJob {
  readonly id: string;
  readonly shard: number;
}

/** Without numbers yet. */
export const sequencedJobs = new LastActs<SequencedJob>('sequenced-jobs');

export const sequenced = (jobs: readonly NewJob[]): SequencedJob[] =>
  jobs.flatMap(({ id, sequenceKey }) => (sequenceKey === null ? [] : [{ id, shard: shardOf('', sequenceKey) }]));

/** How many numbers each shard gives. */
export function jobCounts(jobs: readonly SequencedJob[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { shard } of jobs) counts.set(shard, (counts.get(shard) ?? 0) + 1);
  return counts;
}

/** When the heads of their shards are raised, under their locks: the last ones of what each shard gave, in the order in which they were queued. */
export async function writeNumbers(sql: Sql, jobs: readonly SequencedJob[], tables: TableNames): Promise<void> {
  for (const { text, params } of numberTexts(jobs, tables)) await sql.query(text, params);
}

export function numberTexts(jobs: readonly SequencedJob[], tables: TableNames): BoundText[] {
  const left = jobCounts(jobs);
  const numbered = jobs.map(({ id, shard }) => {
    const behind = left.get(shard)! - 1;
    left.set(shard, behind);
    return { id, number: `(SELECT job_head FROM ${tables.shard} WHERE shard = ${shard}) - ${behind}` };
  });
  return slices(numbered, NUMBERED_AT_ONCE).map((some) => {
    const ids = some.map(({ id }) => id);
    return { text: `UPDATE ${tables.job} SET sequence_no = CASE id ${some.map(({ number }) => `WHEN ? THEN ${number}`).join(' ')} END WHERE id IN (?)`, params: [...ids, ids] };
  });
}

export async function releaseHeads(sql: Sql, keys: readonly string[] | undefined, tables: TableNames): Promise<readonly DelayedTicket[]> {
  const tickets: DelayedTicket[] = [];
  for (const some of keys ? slices(keys, RELEASED_AT_ONCE) : [undefined]) tickets.push(...(await release(sql, some, tables)));
  return tickets;
}

type FirstRow = DelayedTicket & { readonly microsLeft: number | string };

/** A ticket too much does no harm: a held job cannot be claimed. */
async function release(sql: Sql, keys: readonly string[] | undefined, tables: TableNames): Promise<readonly DelayedTicket[]> {
  const { as, micros, now } = expressionsOf(sql.dialect);
  const firsts = `(SELECT sequence_key, MIN(sequence_no) AS first FROM ${tables.job} WHERE sequence_key ${keys ? 'IN (?)' : 'IS NOT NULL'} GROUP BY sequence_key)`;
  const isFirst = 'j.sequence_key = f.sequence_key AND j.sequence_no = f.first';
  const params = keys ? [keys] : [];
  const rows = await sql.query<FirstRow[]>(
    `SELECT j.id, j.epoch, j.queue, j.priority, ${micros('j.run_at')} - ${micros(now)} AS ${as('microsLeft')}
     FROM ${tables.job} j JOIN ${firsts} f ON ${isFirst} WHERE j.state = 'held' ORDER BY j.run_at, j.id LIMIT ${RELEASED_AT_ONCE}`,
    params,
  );
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  if (sql.dialect === 'postgres') await sql.query(`UPDATE ${tables.job} SET state = 'waiting' WHERE id IN (?) AND state = 'held'`, [ids]);
  // MariaDB's read view is not atomic: a statement may see a later commit without an earlier one. What this one sees began after that.
  else await sql.query(`UPDATE ${tables.job} j JOIN ${firsts} f ON ${isFirst} SET j.state = 'waiting' WHERE j.id IN (?) AND j.state = 'held'`, [...params, ids]);
  return rows.map(({ microsLeft, ...ticket }) => ({ ...ticket, delayMs: Math.max(0, Math.ceil(Number(microsLeft) / 1_000)) }));
}
