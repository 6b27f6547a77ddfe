/** The runs of this process: which jobs are under way, which run a piece of code belongs to, and what becomes of them when the process stops. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import type { Unit } from '../kernel/unit-of-work.js';
import { holdsEffect } from './job-effect.js';
import type { JobOutbox } from './job-outbox.js';
import type { ClaimedJob, JobStore, JobTicket } from './job-store.js';
import type { QueuedCommandDefinition } from './queued-command.js';

const STOPPED = 'its worker was stopped before it ended';

export interface RunningJob {
  readonly job: ClaimedJob;
  readonly definition: QueuedCommandDefinition;
  readonly abort: AbortController;
  completed: boolean;
  handedBack: boolean;
}

export const runOf = (job: ClaimedJob, definition: QueuedCommandDefinition): RunningJob => ({ job, definition, abort: new AbortController(), completed: false, handedBack: false });

export class RunningJobs {
  private readonly logger = new Logger('Tandem');
  private readonly running = new Set<RunningJob>();
  private readonly beginning = new Set<Promise<unknown>>();
  /** The runs that code belongs to, also when their time is up and other runs of their jobs have begun. */
  private readonly scope = new AsyncLocalStorage<readonly RunningJob[]>();
  /** Nothing is begun any more. */
  private isOver = false;

  constructor(
    private readonly store: JobStore,
    private readonly outbox: JobOutbox,
  ) {}

  /** Claimed when the process has stopped meanwhile, they are given back: none. */
  begin(claim: () => Promise<readonly ClaimedJob[]>): Promise<readonly ClaimedJob[]> {
    const begun = this.claimed(claim).finally(() => this.beginning.delete(begun));
    this.beginning.add(begun);
    return begun;
  }

  private async claimed(claim: () => Promise<readonly ClaimedJob[]>): Promise<readonly ClaimedJob[]> {
    const jobs = await claim();
    if (!this.isOver) return jobs;
    await this.giveBack(jobs, STOPPED, 0);
    return [];
  }

  /** Their leases are renewed until `work` has ended. */
  async during<T>(runs: readonly RunningJob[], work: () => Promise<T>): Promise<T> {
    for (const run of runs) this.running.add(run);
    try {
      return await work();
    } finally {
      for (const run of runs) this.running.delete(run);
    }
  }

  /** What `work` commits may settle these jobs. */
  within<T>(runs: readonly RunningJob[], work: () => Promise<T>): Promise<T> {
    return this.scope.run(runs, work);
  }

  /** The commit step of `sql` jobs: "done" commits with their handlers' writes, or neither does. */
  async completeWith(unit: Unit): Promise<void> {
    const ended = (this.scope.getStore() ?? []).filter(({ definition, job }) => definition.effect === 'sql' && holdsEffect(unit, job.id));
    const [first] = ended;
    if (!first) return;
    if (ended.length === 1) await this.store.complete(first.job, unit);
    else await this.store.completeTogether(jobsOf(ended), unit);
    unit.afterCommit(() => {
      for (const run of ended) run.completed = true;
    });
  }

  async renew(leaseMs: number): Promise<void> {
    if (this.running.size > 0) await this.store.renew(jobsOf([...this.running]), leaseMs);
  }

  /** Before the signals abort: a run that ends by its signal has not failed. */
  async handBack(): Promise<void> {
    this.isOver = true;
    await Promise.allSettled([...this.beginning]);
    const left = [...this.running];
    for (const run of left) run.handedBack = true;
    await this.giveBack(jobsOf(left), STOPPED, 0);
    for (const { abort } of left) abort.abort();
  }

  /** They wait again, and the run does not count. Never rejects: what cannot be settled now is found by its lease. */
  async giveBack(jobs: readonly ClaimedJob[], reason: string, retryInMs: number): Promise<void> {
    const uncounted = jobs.filter(({ attempts }) => attempts === 0);
    await Promise.all([
      ...jobs.filter(({ attempts }) => attempts > 0).map((job) => this.giveBackOne(job, reason, retryInMs)),
      ...(uncounted.length > 0 ? [this.giveBackTogether(uncounted, reason, retryInMs)] : []),
    ]);
  }

  private async giveBackOne(job: ClaimedJob, reason: string, retryInMs: number): Promise<void> {
    this.logger.warn(`Job ${job.id}: ${reason}`);
    try {
      const next = await this.store.giveBack(job, reason, retryInMs);
      if (next) await this.outbox.send([{ ...next, delayMs: retryInMs }]);
    } catch (error) {
      this.foundByLease([job], error);
    }
  }

  private async giveBackTogether(jobs: readonly ClaimedJob[], reason: string, retryInMs: number): Promise<void> {
    this.logger.warn(`${called(jobs)}: ${reason}`);
    try {
      await this.store.giveBackTogether(jobs, reason, retryInMs);
      await this.outbox.send(jobs.map(({ id, epoch, queue, priority }) => ({ id, epoch, queue, priority, delayMs: retryInMs })));
    } catch (error) {
      this.foundByLease(jobs, error);
    }
  }

  foundByLease(jobs: readonly JobTicket[], error: unknown): void {
    this.logger.warn(`${called(jobs)} could not be settled and ${jobs.length === 1 ? 'comes' : 'come'} again: ${String(error)}`);
  }
}

const jobsOf = (runs: readonly RunningJob[]): ClaimedJob[] => runs.map(({ job }) => job);

const called = (jobs: readonly JobTicket[]): string => (jobs.length === 1 ? `Job ${jobs[0]!.id}` : `${jobs.length} jobs that were taken together`);
