import type { DataSource } from 'typeorm';
import {
  JobStore,
  type ChangedJob,
  type ClaimedJob,
  type DelayedTicket,
  type JobState,
  type JobSummary,
  type JobTicket,
  type NamedTicket,
  type NewJob,
} from '../../jobs/job-store.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { poolsOf } from './acquire.js';
import { appendLastIn } from './append-ways.js';
import { expressionsOf } from './dialect.js';
import { slices } from './insert-chunks.js';
import { grouped } from './grouped.js';
import { insertJobs } from './insert-jobs.js';
import { endingJobs, staleJob, writeEnds } from './job-ends.js';
import { claimJobs, completeJobs, epochParams, inEpoch } from './job-groups.js';
import { discardJob, rescheduleJob } from './job-changes.js';
import { releaseHeads, sequenced, sequencedJobs } from './job-sequences.js';
import { repeated } from './repeated.js';
import { shortText } from './short-text.js';
import { sqlOf, sqlOutside, type BoundText, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const SWEEP_STEP = 500;
/** Jobs in one statement. */
const AT_ONCE = 200;

interface Affected {
  readonly affectedRows: number;
}

interface SummaryRow {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly state: JobState;
  readonly attempts: number;
  readonly last_error: string | null;
}

/**
 * Jobs on MySQL, MariaDB and PostgreSQL. `run_at` is one column with three meanings, so that one index finds all that is due:
 * when a waiting job may run, when a running one's lease ends, when any other ended.
 */
export class SqlJobStore extends JobStore {
  /** Lease in milliseconds → its claims: an application has one. */
  private readonly claims = new Map<number, (ticket: JobTicket) => Promise<ClaimedJob | undefined>>();
  private readonly completion = grouped(AT_ONCE, (tickets: readonly JobTicket[]) => this.alone((sql) => completeJobs(sql, tickets, this.tables)));

  /** Where the unit appends nothing. */
  private readonly lastAct = async (unit: Unit): Promise<void> => {
    await appendLastIn(unit, { events: [], outcomes: [], jobs: sequencedJobs.take(unit), ended: endingJobs.take(unit) }, this);
  };

  constructor(
    readonly dataSource: DataSource,
    readonly tables: TableNames,
  ) {
    super();
  }

  async insert(unit: Unit, jobs: readonly NewJob[]): Promise<readonly JobTicket[]> {
    const tickets = await insertJobs(sqlOf(unit), jobs, this.tables);
    const inserted = new Set(tickets.map(({ id }) => id));
    sequencedJobs.add(unit, sequenced(jobs.filter(({ id }) => inserted.has(id))), this.lastAct);
    return tickets;
  }

  async withDedupeKey(unit: Unit, dedupeKey: string): Promise<string | undefined> {
    const [job] = await sqlOf(unit).query<{ id: string }[]>(`SELECT id FROM ${this.tables.job} WHERE dedupe_key = ?`, [dedupeKey]);
    return job?.id;
  }

  claim(ticket: JobTicket, leaseMs: number): Promise<ClaimedJob | undefined> {
    let claim = this.claims.get(leaseMs);
    if (!claim) {
      claim = grouped(AT_ONCE, (tickets) => this.claimAll(tickets, { leaseMs, counts: 1 }));
      this.claims.set(leaseMs, claim);
    }
    return claim(ticket);
  }

  async claimTogether(tickets: readonly JobTicket[], leaseMs: number): Promise<readonly ClaimedJob[]> {
    return (await this.claimAll(tickets, { leaseMs, counts: 0 })).filter((job) => job !== undefined);
  }

  private claimAll(tickets: readonly JobTicket[], how: { readonly leaseMs: number; readonly counts: 0 | 1 }): Promise<readonly (ClaimedJob | undefined)[]> {
    return this.alone((sql) => claimJobs(sql, { tickets, ...how, hasBlocks: this.hasBlocks }, this.tables));
  }

  private get hasBlocks(): boolean {
    return poolsOf(this.dataSource).isMariaDb;
  }

  async complete(ticket: JobTicket, unit?: Unit): Promise<void> {
    if (unit && this.hasBlocks) return endingJobs.add(unit, [ticket], this.lastAct);
    const isDone = unit ? (await completeJobs(sqlOf(unit), [ticket], this.tables))[0] : await this.completion(ticket);
    if (!isDone) throw staleJob(ticket);
  }

  async completeTogether(tickets: readonly JobTicket[], unit: Unit): Promise<void> {
    if (this.hasBlocks) return endingJobs.add(unit, tickets, this.lastAct);
    await writeEnds(sqlOf(unit), tickets, this.tables);
  }

  async fail(ticket: JobTicket, error: string, retryInMs: number | undefined): Promise<JobTicket | undefined> {
    return this.alone(async (sql) => {
      if (retryInMs === undefined) {
        await this.park(sql, ticket, error);
        return undefined;
      }
      return this.waitAgain(sql, ticket, { error, retryInMs, uncounted: 0 });
    });
  }

  async giveBack(ticket: JobTicket, reason: string, retryInMs: number): Promise<JobTicket | undefined> {
    return this.alone((sql) => this.waitAgain(sql, ticket, { error: reason, retryInMs, uncounted: 1 }));
  }

  giveBackTogether(tickets: readonly JobTicket[], reason: string, retryInMs: number): Promise<void> {
    return this.changeRunning(tickets, (later) => ({ text: `state = 'waiting', last_error = ?, run_at = ${later}`, params: [shortText(reason), Math.round(retryInMs)] }));
  }

  renew(tickets: readonly JobTicket[], leaseMs: number): Promise<void> {
    return this.changeRunning(tickets, (later) => ({ text: `run_at = ${later}`, params: [leaseMs] }));
  }

  private async changeRunning(tickets: readonly JobTicket[], change: (later: string) => BoundText): Promise<void> {
    const sorted = [...tickets].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const slice of slices(sorted, AT_ONCE)) {
      await this.alone((sql) => {
        const { params, text } = change(expressionsOf(sql.dialect).later);
        return sql.query(`UPDATE ${this.tables.job} SET ${text} WHERE id IN (?) AND state = 'running' AND ${inEpoch(slice)}`, [
          ...params,
          slice.map(({ id }) => id),
          ...epochParams(slice),
        ]);
      });
    }
  }

  release(sequenceKeys?: readonly string[]): Promise<readonly DelayedTicket[]> {
    return this.alone((sql) => releaseHeads(sql, sequenceKeys, this.tables));
  }

  async due(queues: readonly string[], overdueMs: number, limit: number): Promise<readonly NamedTicket[]> {
    if (queues.length === 0) return [];
    return sqlOutside(this.dataSource, async (sql) => {
      const { earlier } = expressionsOf(sql.dialect);
      const select = (state: JobState): string =>
        `(SELECT id, epoch, queue, priority, name, run_at FROM ${this.tables.job} WHERE queue = ? AND state = '${state}' AND run_at <= ${earlier} ORDER BY priority, run_at, id LIMIT ?)`;
      // A limit for each queue: one that nobody works off must not hide what is due in the others.
      const rows = await sql.query<(NamedTicket & { run_at: unknown })[]>(
        `${queues.map(() => `${select('waiting')} UNION ALL ${select('running')}`).join(' UNION ALL ')} ORDER BY priority, run_at, id`,
        queues.flatMap((queue) => [queue, overdueMs, limit, queue, 0, limit]),
      );
      return rows.map(({ id, epoch, queue, priority, name }) => ({ id, epoch, queue, priority, name }));
    });
  }

  async counts(): Promise<readonly { readonly name: string; readonly state: JobState; readonly count: number }[]> {
    const rows = await sqlOutside(this.dataSource, (sql) =>
      sql.query<{ name: string; state: JobState; n: number | string }[]>(`SELECT name, state, COUNT(*) AS n FROM ${this.tables.job} GROUP BY name, state ORDER BY name, state`),
    );
    return rows.map(({ name, state, n }) => ({ name, state, count: Number(n) }));
  }

  async list(state: JobState, limit: number): Promise<readonly JobSummary[]> {
    const rows = await sqlOutside(this.dataSource, (sql) =>
      sql.query<SummaryRow[]>(`SELECT id, name, queue, state, attempts, last_error FROM ${this.tables.job} WHERE state = ? ORDER BY run_at DESC, id DESC LIMIT ?`, [state, limit]),
    );
    return rows.map(({ last_error, ...row }) => ({ ...row, lastError: last_error }));
  }

  async retryParked(id: string): Promise<readonly JobTicket[]> {
    return this.alone(async (sql) => {
      const { affectedRows } = await sql.query<Affected>(
        `UPDATE ${this.tables.job} SET state = 'waiting', attempts = 0, finished_at = NULL, run_at = ${expressionsOf(sql.dialect).now} WHERE id = ? AND state = 'parked'`,
        [id],
      );
      return affectedRows === 0 ? [] : sql.query<JobTicket[]>(`SELECT id, epoch, queue, priority FROM ${this.tables.job} WHERE id = ?`, [id]);
    });
  }

  discard(unit: Unit, id: string, reason: string): Promise<ChangedJob> {
    return discardJob(sqlOf(unit), { id, reason: shortText(reason) }, this.tables);
  }

  reschedule(unit: Unit, id: string, runAt?: Date): Promise<ChangedJob> {
    return rescheduleJob(sqlOf(unit), { id, runAt }, this.tables);
  }

  async sweep(keepDoneMs: number): Promise<number> {
    return (await this.sweepState('done', keepDoneMs)) + (await this.sweepState('discarded', keepDoneMs));
  }

  private async sweepState(state: JobState, keepMs: number): Promise<number> {
    for (let swept = 0; ;) {
      const { affectedRows } = await this.alone((sql) => this.sweepStep(sql, state, keepMs));
      swept += affectedRows;
      if (affectedRows < SWEEP_STEP) return swept;
    }
  }

  private sweepStep(sql: Sql, state: JobState, keepMs: number): Promise<Affected> {
    const old = `state = '${state}' AND run_at <= ${expressionsOf(sql.dialect).earlier} ORDER BY run_at LIMIT ?`;
    const from = `DELETE FROM ${this.tables.job} WHERE`;
    return sql.query(sql.dialect === 'mysql' ? `${from} ${old}` : `${from} id IN (SELECT id FROM ${this.tables.job} WHERE ${old})`, [keepMs, SWEEP_STEP]);
  }

  private async waitAgain(sql: Sql, ticket: JobTicket, { error, retryInMs, uncounted }: { error: string; retryInMs: number; uncounted: number }): Promise<JobTicket | undefined> {
    const { affectedRows } = await sql.query<Affected>(
      `UPDATE ${this.tables.job} SET state = 'waiting', attempts = attempts - ?, last_error = ?, run_at = ${expressionsOf(sql.dialect).later} WHERE id = ? AND epoch = ? AND state = 'running'`,
      [uncounted, shortText(error), Math.round(retryInMs), ticket.id, ticket.epoch],
    );
    const { id, epoch, queue, priority } = ticket;
    return affectedRows === 0 ? undefined : { id, epoch, queue, priority };
  }

  /** It keeps its place in its sequence. */
  private async park(sql: Sql, ticket: JobTicket, error: string): Promise<void> {
    const { now } = expressionsOf(sql.dialect);
    await sql.query(`UPDATE ${this.tables.job} SET state = 'parked', last_error = ?, run_at = ${now}, finished_at = ${now} WHERE id = ? AND epoch = ? AND state = 'running'`, [
      shortText(error),
      ticket.id,
      ticket.epoch,
    ]);
  }

  /** Statements that commit by themselves, again after a deadlock. */
  private alone<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return repeated(() => sqlOutside(this.dataSource, work));
  }
}
