/**
 * Claims and completions of many jobs with one statement: the jobs that a process runs at once are claimed together, since one
 * statement and one COMMIT for each would cost more than most of them do. Each such statement leaves its own *claim id* in the
 * rows that it changed, which tells them from those that somebody else had changed before.
 */
import type { ClaimedJob, JobTicket } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import { expressionsOf } from './dialect.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/**
 * A ticket may come this much before its job's time. BullMQ counts by the clocks of the processes: a ticket of one whose clock is ahead
 * is refused, and a worker's look brings the job when it is due by the database's clock.
 */
const EARLY_MS = 1_000;

interface Affected {
  readonly affectedRows: number;
}

interface ClaimRequest {
  readonly tickets: readonly JobTicket[];
  readonly leaseMs: number;
  /** How many attempts the run counts as: one that is shared by several jobs counts as none. */
  readonly counts: 0 | 1;
  /** MariaDB: both statements go in one round trip. */
  readonly hasBlocks: boolean;
}

/** In the order of the tickets; undefined for one that is stale or too early, and for its twin. Each statement commits by itself; the epoch that it took is nobody else's, so the jobs can be read after it. */
export async function claimJobs(sql: Sql, request: ClaimRequest, tables: TableNames): Promise<readonly (ClaimedJob | undefined)[]> {
  const claimed = await claimedRows(sql, request, tables);
  const byRun = new Map(claimed.map((job) => [runOf(job), job]));
  return request.tickets.map(({ id, epoch }) => take(byRun, runOf({ id, epoch: epoch + 1 })));
}

async function claimedRows(sql: Sql, { counts, hasBlocks, leaseMs, tickets }: ClaimRequest, tables: TableNames): Promise<readonly ClaimedJob[]> {
  const { as, now, later, text } = expressionsOf(sql.dialect);
  const ids = tickets.map(({ id }) => id);
  const claimId = newId();
  const update = `UPDATE ${tables.job} SET state = 'running', epoch = epoch + 1, attempts = attempts + ${counts}, claim_id = ?, run_at = ${later}
     WHERE id IN (?) AND ((state = 'waiting' AND run_at <= ${later}) OR (state = 'running' AND run_at <= ${now})) AND ${inEpoch(tickets)}`;
  const params = [claimId, leaseMs, ids, EARLY_MS, ...epochParams(tickets)];
  const columns = `id, epoch, queue, priority, name, ${text('payload')} AS payload, ${text('metadata')} AS metadata, attempts, sequence_key AS ${as('sequenceKey')}`;
  if (sql.dialect === 'postgres') return sql.query<ClaimedJob[]>(`${update} RETURNING ${columns}`, params);
  const select = `SELECT ${columns} FROM ${tables.job} WHERE id IN (?) AND claim_id = ?`;
  if (hasBlocks) return (await sql.query<[ClaimedJob[]]>(`BEGIN NOT ATOMIC ${update}; ${select}; END`, [...params, ids, claimId]))[0];
  const { affectedRows } = await sql.query<Affected>(update, params);
  return affectedRows === 0 ? [] : sql.query<ClaimedJob[]>(select, [ids, claimId]);
}

/** Marks done. In the order of the tickets: whether the run was still the job's. */
export async function completeJobs(sql: Sql, tickets: readonly JobTicket[], tables: TableNames): Promise<readonly boolean[]> {
  const { now } = expressionsOf(sql.dialect);
  const ids = tickets.map(({ id }) => id);
  const claimId = newId();
  const { affectedRows } = await sql.query<Affected>(
    `UPDATE ${tables.job} SET state = 'done', last_error = NULL, sequence_key = NULL, claim_id = ?, run_at = ${now}, finished_at = ${now}
     WHERE id IN (?) AND state = 'running' AND ${inEpoch(tickets)}`,
    [claimId, ids, ...epochParams(tickets)],
  );
  if (affectedRows === tickets.length) return tickets.map(() => true);
  if (affectedRows === 0) return tickets.map(() => false);
  const done = await sql.query<{ id: string; epoch: number }[]>(`SELECT id, epoch FROM ${tables.job} WHERE id IN (?) AND claim_id = ?`, [ids, claimId]);
  const byRun = new Map(done.map((job) => [runOf(job), true]));
  return tickets.map((ticket) => take(byRun, runOf(ticket)) ?? false);
}

/** The list of ids beside it is what the primary key is searched by. */
export const inEpoch = (tickets: readonly JobTicket[]): string => `(${tickets.map(() => '(id = ? AND epoch = ?)').join(' OR ')})`;

export const epochParams = (tickets: readonly JobTicket[]): unknown[] => tickets.flatMap(({ id, epoch }) => [id, epoch]);

const runOf = ({ id, epoch }: Pick<JobTicket, 'id' | 'epoch'>): string => `${id} ${epoch}`;

/** Once: of two equal tickets only one run is theirs. */
function take<V>(from: Map<string, V>, key: string): V | undefined {
  const found = from.get(key);
  from.delete(key);
  return found;
}
