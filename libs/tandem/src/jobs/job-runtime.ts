/**
 * Runs the queued commands of this process. A ticket from BullMQ is first claimed in SQL (a short transaction, so that a job
 * that kills its process still counts), then handled through the command bus, then settled: done in the handler's own unit of
 * work (`sql`), or by epoch afterwards (`external`). What failed waits and comes again, or is parked. Jobs that share a ticket
 * run together: jobs-together.ts.
 */
import { Injectable, Logger } from '@nestjs/common';
import { CommandBus, type ICommand } from '@nestjs/cqrs';
import sjson from 'secure-json-parse';
import { Clock } from '../kernel/clock.js';
import { asWorker } from '../kernel/connection-use.js';
import { isTandemError, TandemError } from '../kernel/errors.js';
import { atMost } from '../kernel/in-time.js';
import { type MessageFacts, runWithMessage } from '../kernel/message-context.js';
import { prepareMessage } from '../kernel/prepared-message.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { decodePayload } from '../events/payload.js';
import { retryDelay } from '../events/retry-delay.js';
import { EXTERNAL_QUEUE } from './external-jobs.js';
import { HandOver } from './hand-over.js';
import { JobOutbox } from './job-outbox.js';
import { JobSettings } from './job-settings.js';
import { type ClaimedJob, JobStore, type SharedTicket } from './job-store.js';
import { JobTransport } from './job-transport.js';
import { JobsTogether } from './jobs-together.js';
import type { QueuedCommandDefinition } from './queued-command.js';
import { type RunningJob, RunningJobs, runOf } from './running-jobs.js';
import { failureText } from './failure-text.js';

const SWEEP_EVERY_MS = 60_000;
/** Long enough for another worker to take it. */
const GIVEN_BACK_MS = 5_000;

@Injectable()
export class JobRuntime {
  private readonly logger = new Logger('Tandem');
  private readonly byName = new Map<string, QueuedCommandDefinition>();
  private readonly runs: RunningJobs;
  private readonly together: JobsTogether;
  private readonly stopping = new AbortController();
  private readonly handOver: HandOver;
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
    const batchSizeOf = (name: string): number => this.byName.get(name)?.batchSize ?? 1;
    this.handOver = new HandOver({ store, transport, outbox, settings, batchSizeOf, stop: this.stopping.signal });
    this.runs = new RunningJobs(store, outbox);
    this.together = new JobsTogether({ units, store, runs: this.runs, handle: (run) => this.handle(run) });
    units.beforeCommit((unit) => this.runs.completeWith(unit));
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
      this.every(jobLeaseMs / 3, 'renew leases', () => this.runs.renew(jobLeaseMs)),
      asWorker(() => this.every(reconcileEveryMs, 'look for due jobs', () => this.handOver.look([...this.queues, EXTERNAL_QUEUE]))),
      // Who ended the first job of a sequence, or queued it, may be gone before it let the next one go: as rare as a lost lease.
      asWorker(() => this.every(jobLeaseMs, 'look for sequences that stand still', () => this.outbox.releaseAll())),
      asWorker(() => this.every(SWEEP_EVERY_MS, 'sweep done jobs', async () => void (await this.store.sweep(this.settings.keepDoneJobsMs)))),
    ]);
  }

  /** No new jobs; running ones may take `drainMs`. What is not done by then is handed back and its signal aborts: another worker takes it at once. */
  async stop(drainMs: number): Promise<void> {
    await this.transport.stop(drainMs);
    await this.runs.handBack();
    this.stopping.abort();
    await this.loops;
  }

  /** Never rejects: what cannot be settled now is found by its lease. */
  private async run(ticket: SharedTicket): Promise<void> {
    let ran = 1;
    try {
      ran = ticket.others ? await this.runTogether(ticket, ticket.others) : await this.runAlone(ticket);
    } catch (error) {
      if (isTandemError(error, 'TANDEM_JOB_STALE')) this.logger.warn(`Job ${ticket.id} was taken over by another worker`);
      else this.runs.foundByLease([ticket], error);
    }
    this.handOver.ended(ticket.queue, ran);
  }

  /** How many jobs it was for. */
  private async runAlone(ticket: SharedTicket): Promise<number> {
    const [job] = await this.runs.begin(async () => {
      const claimed = await this.store.claim(ticket, this.settings.jobLeaseMs);
      return claimed ? [claimed] : [];
    });
    if (job) await this.execute(job);
    return 1;
  }

  private async runTogether({ id, epoch, queue }: SharedTicket, others: readonly string[]): Promise<number> {
    const tickets = [id, ...others].map((each) => ({ id: each, epoch, queue }));
    const jobs = await this.runs.begin(() => this.store.claimTogether(tickets, this.settings.jobLeaseMs));
    const [first] = jobs;
    const definition = first && this.byName.get(first.name);
    if (first && !definition) await this.runs.giveBack(jobs, unknownHere(first), GIVEN_BACK_MS);
    // Another version of the application has queued them, whose command says something else.
    else if (definition?.batchSize === 1) await this.runs.giveBack(jobs, 'here each of them runs alone', 0);
    else if (definition) await this.together.execute(jobs, definition);
    return jobs.length;
  }

  private async execute(job: ClaimedJob): Promise<void> {
    const definition = this.byName.get(job.name);
    // For a worker whose code has the command: another version of the application may share the queue.
    if (!definition) return this.runs.giveBack([job], unknownHere(job), GIVEN_BACK_MS);
    const run = runOf(job, definition);
    await this.runs.during([run], () => this.settle(run));
    if (run.handedBack) return;
    // At once, not at the next look: a sequence is as fast as its hand-overs.
    if (job.sequenceKey !== null) await this.outbox.release([job.sequenceKey]);
  }

  private async settle(run: RunningJob): Promise<void> {
    const { definition, job } = run;
    try {
      if (job.attempts > definition.attempts) throw lost(job);
      await this.handle(run);
      if (!run.completed) await this.store.complete(job);
    } catch (error) {
      if (run.handedBack) return;
      if (isTandemError(error, 'TANDEM_JOB_STALE')) throw error;
      await this.fail(job, definition, error);
    }
  }

  private async handle(run: RunningJob): Promise<void> {
    const { abort, definition, job } = run;
    const command = decodePayload(definition.commandClass, job.payload);
    const facts: MessageFacts = { ...(sjson.parse(job.metadata) as unknown as MessageFacts), messageId: job.id, idempotencyKey: job.id, signal: abort.signal };
    prepareMessage(command, facts);
    const handled = this.runs.within([run], () => runWithMessage(facts, () => this.commands.execute(command as ICommand), {}));
    await atMost(handled, definition.timeoutMs, () => {
      abort.abort();
      return new TandemError('TANDEM_JOB_TIMEOUT', `${job.name} took longer than ${definition.timeoutMs} ms`);
    });
  }

  private async fail(job: ClaimedJob, { attempts, backoffMs }: QueuedCommandDefinition, error: unknown): Promise<void> {
    const text = failureText(error);
    const retryInMs = job.attempts < attempts ? retryDelay(job.attempts, backoffMs) : undefined;
    this.logger.warn(`Job ${job.id} (${job.name}) failed, attempt ${job.attempts} of ${attempts}${retryInMs === undefined ? ', and is parked' : ''}: ${text}`);
    const next = await this.store.fail(job, text, retryInMs);
    if (next) await this.outbox.send([{ ...next, delayMs: retryInMs ?? 0 }]);
  }

  private async every(pauseMs: number, what: string, work: () => Promise<void>): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await this.clock.sleep(pauseMs, this.stopping.signal);
      if (this.stopping.signal.aborted) return;
      await work().catch((error: unknown) => this.logger.warn(`Could not ${what} now: ${String(error)}`));
    }
  }
}

const unknownHere = ({ name }: ClaimedJob): string => new TandemError('TANDEM_JOB_UNKNOWN', `this worker has no queued command "${name}"`).message;

/** A run that ended its process, or was cut off, could not settle anything: it only counted. */
const lost = ({ attempts, name }: ClaimedJob): TandemError =>
  new TandemError('TANDEM_JOB_LOST', `${name} was begun ${attempts - 1} times, and the last time its worker was gone before it ended`);
