/**
 * Runs the queued commands of this process. A ticket from BullMQ is first claimed in SQL (a short transaction, so that a job
 * that kills its process still counts), then handled through the command bus, then settled: done in the handler's own unit of
 * work (`sql`), or by epoch afterwards (`external`). What failed waits and comes again, or is parked.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable, Logger } from '@nestjs/common';
import { CommandBus, type ICommand } from '@nestjs/cqrs';
import sjson from 'secure-json-parse';
import { Clock } from '../kernel/clock.js';
import { asWorker } from '../kernel/connection-use.js';
import { isTandemError, TandemError } from '../kernel/errors.js';
import { atMost } from '../kernel/in-time.js';
import { type MessageFacts, runWithMessage } from '../kernel/message-context.js';
import { prepareMessage } from '../kernel/prepared-message.js';
import { type Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { decodePayload } from '../events/payload.js';
import { retryDelay } from '../events/retry-delay.js';
import { EXTERNAL_QUEUE } from './external-jobs.js';
import { HandOver } from './hand-over.js';
import { holdsEffect } from './job-effect.js';
import { JobOutbox } from './job-outbox.js';
import { JobSettings } from './job-settings.js';
import { type ClaimedJob, JobStore, type JobTicket } from './job-store.js';
import { JobTransport } from './job-transport.js';
import type { QueuedCommandDefinition } from './queued-command.js';

const STOPPED = 'its worker was stopped before it ended';
const SWEEP_EVERY_MS = 60_000;
/** Long enough for another worker to take it. */
const GIVEN_BACK_MS = 5_000;

interface RunningJob {
  readonly ticket: JobTicket;
  readonly effect: QueuedCommandDefinition['effect'];
  readonly abort: AbortController;
  completed: boolean;
  handedBack: boolean;
}

@Injectable()
export class JobRuntime {
  private readonly logger = new Logger('Tandem');
  private readonly byName = new Map<string, QueuedCommandDefinition>();
  private readonly running = new Set<RunningJob>();
  private readonly beginning = new Set<Promise<unknown>>();
  /** The run that code belongs to, also when its time is up and another run of the job has begun. */
  private readonly runs = new AsyncLocalStorage<RunningJob>();
  private readonly stopping = new AbortController();
  private readonly handOver: HandOver;
  /** Nothing is begun any more. */
  private isOver = false;
  private queues: readonly string[] = [];
  private loops: Promise<unknown> = Promise.resolve();

  constructor(
    units: UnitOfWork,
    private readonly store: JobStore,
    private readonly transport: JobTransport,
    private readonly outbox: JobOutbox,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
    private readonly settings: JobSettings,
  ) {
    this.handOver = new HandOver({ store, transport, outbox, settings, stop: this.stopping.signal });
    units.beforeCommit((unit) => this.completeWith(unit));
  }

  /** Takes jobs of the queues that these commands name. */
  async start(definitions: readonly QueuedCommandDefinition[]): Promise<void> {
    const queues = new Map<string, number>();
    for (const definition of definitions) {
      this.byName.set(definition.name, definition);
      queues.set(definition.queue, Math.max(definition.concurrency, queues.get(definition.queue) ?? 0));
    }
    this.queues = [...queues.keys()];
    for (const [queue, concurrency] of queues) await this.transport.work(queue, concurrency, (ticket) => asWorker(() => this.run(ticket)));
    const { jobLeaseMs, reconcileEveryMs } = this.settings;
    this.loops = Promise.all([
      // Not on a connection of the workers' pool: jobs that have them all need their leases most.
      this.every(jobLeaseMs / 3, 'renew leases', () => this.renew()),
      asWorker(() => this.every(reconcileEveryMs, 'look for due jobs', () => this.handOver.look([...this.queues, EXTERNAL_QUEUE]))),
      // Who ended the first job of a sequence, or queued it, may be gone before it let the next one go: as rare as a lost lease.
      asWorker(() => this.every(jobLeaseMs, 'look for sequences that stand still', () => this.outbox.releaseAll())),
      asWorker(() => this.every(SWEEP_EVERY_MS, 'sweep done jobs', async () => void (await this.store.sweep(this.settings.keepDoneJobsMs)))),
    ]);
  }

  /** No new jobs; running ones may take `drainMs`. What is not done by then is handed back and its signal aborts: another worker takes it at once. */
  async stop(drainMs: number): Promise<void> {
    await this.transport.stop(drainMs);
    await this.handBack();
    this.stopping.abort();
    await this.loops;
  }

  /** Before the signals abort: a run that ends by its signal has not failed. */
  private async handBack(): Promise<void> {
    this.isOver = true;
    await Promise.allSettled([...this.beginning]);
    const left = [...this.running];
    for (const run of left) run.handedBack = true;
    await Promise.all(left.map(({ ticket }) => this.giveBack(ticket, STOPPED, 0).catch((error: unknown) => this.foundByLease(ticket, error))));
    for (const { abort } of left) abort.abort();
  }

  /** Never rejects: what cannot be settled now is found by its lease. */
  private async run(ticket: JobTicket): Promise<void> {
    try {
      const job = await this.begin(ticket);
      if (job) await this.execute(job);
    } catch (error) {
      if (isTandemError(error, 'TANDEM_JOB_STALE')) this.logger.warn(`Job ${ticket.id} was taken over by another worker`);
      else this.foundByLease(ticket, error);
    }
    this.handOver.ended(ticket.queue);
  }

  private begin(ticket: JobTicket): Promise<ClaimedJob | undefined> {
    const begun = this.claim(ticket).finally(() => this.beginning.delete(begun));
    this.beginning.add(begun);
    return begun;
  }

  private async claim(ticket: JobTicket): Promise<ClaimedJob | undefined> {
    const job = await this.store.claim(ticket, this.settings.jobLeaseMs);
    if (!job || !this.isOver) return job;
    await this.giveBack(job, STOPPED, 0);
    return undefined;
  }

  private async execute(job: ClaimedJob): Promise<void> {
    const definition = this.byName.get(job.name);
    if (!definition) return this.giveBackUnknown(job);
    const run: RunningJob = { ticket: job, effect: definition.effect, abort: new AbortController(), completed: false, handedBack: false };
    this.running.add(run);
    try {
      if (job.attempts > definition.attempts) throw lost(job);
      await this.handle(job, definition, run);
      if (!run.completed) await this.store.complete(job);
    } catch (error) {
      if (run.handedBack) return;
      if (isTandemError(error, 'TANDEM_JOB_STALE')) throw error;
      await this.fail(job, definition, error);
    } finally {
      this.running.delete(run);
    }
    // At once, not at the next look: a sequence is as fast as its hand-overs.
    if (job.sequenceKey !== null) await this.outbox.release([job.sequenceKey]);
  }

  private async handle(job: ClaimedJob, definition: QueuedCommandDefinition, run: RunningJob): Promise<void> {
    const command = decodePayload(definition.commandClass, job.payload);
    const facts: MessageFacts = { ...(sjson.parse(job.metadata) as unknown as MessageFacts), messageId: job.id, idempotencyKey: job.id, signal: run.abort.signal };
    prepareMessage(command, facts);
    const handled = this.runs.run(run, () => runWithMessage(facts, () => this.commands.execute(command as ICommand), {}));
    await atMost(handled, definition.timeoutMs, () => {
      run.abort.abort();
      return new TandemError('TANDEM_JOB_TIMEOUT', `${job.name} took longer than ${definition.timeoutMs} ms`);
    });
  }

  /** The commit step of an `sql` job: "done" commits with the handler's writes, or neither does. */
  private async completeWith(unit: Unit): Promise<void> {
    const run = this.runs.getStore();
    if (run?.effect !== 'sql' || !holdsEffect(unit, run.ticket.id)) return;
    await this.store.complete(run.ticket, unit);
    unit.afterCommit(() => (run.completed = true));
  }

  private async fail(job: ClaimedJob, { attempts, backoffMs }: QueuedCommandDefinition, error: unknown): Promise<void> {
    const code = (error as { code?: unknown } | null)?.code;
    const text = `${typeof code === 'string' ? `${code}: ` : ''}${error instanceof Error ? error.message : String(error)}`.slice(0, 1_000);
    const retryInMs = job.attempts < attempts ? retryDelay(job.attempts, backoffMs) : undefined;
    this.logger.warn(`Job ${job.id} (${job.name}) failed, attempt ${job.attempts} of ${attempts}${retryInMs === undefined ? ', and is parked' : ''}: ${text}`);
    const next = await this.store.fail(job, text, retryInMs);
    if (next) await this.outbox.send([{ ...next, delayMs: retryInMs ?? 0 }]);
  }

  /** For a worker whose code has the command: another version of the application may share the queue. */
  private async giveBackUnknown(job: ClaimedJob): Promise<void> {
    const { message } = new TandemError('TANDEM_JOB_UNKNOWN', `this worker has no queued command "${job.name}"`);
    await this.giveBack(job, message, GIVEN_BACK_MS);
  }

  private async giveBack(ticket: JobTicket, reason: string, retryInMs: number): Promise<void> {
    this.logger.warn(`Job ${ticket.id}: ${reason}`);
    const next = await this.store.giveBack(ticket, reason, retryInMs);
    if (next) await this.outbox.send([{ ...next, delayMs: retryInMs }]);
  }

  private foundByLease({ id }: JobTicket, error: unknown): void {
    this.logger.warn(`Job ${id} could not be settled and comes again: ${String(error)}`);
  }

  private async renew(): Promise<void> {
    if (this.running.size > 0)
      await this.store.renew(
        [...this.running].map(({ ticket }) => ticket),
        this.settings.jobLeaseMs,
      );
  }

  private async every(pauseMs: number, what: string, work: () => Promise<void>): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await this.clock.sleep(pauseMs, this.stopping.signal);
      if (this.stopping.signal.aborted) return;
      await work().catch((error: unknown) => this.logger.warn(`Could not ${what} now: ${String(error)}`));
    }
  }
}

/** A run that ended its process, or was cut off, could not settle anything: it only counted. */
const lost = ({ attempts, name }: ClaimedJob): TandemError =>
  new TandemError('TANDEM_JOB_LOST', `${name} was begun ${attempts - 1} times, and the last time its worker was gone before it ended`);
