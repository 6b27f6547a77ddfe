import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';
import { currentMessage, nextMessage } from '../kernel/message-context.js';
import { type Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { JobOutbox } from './job-outbox.js';
import { type ChangedJob, type JobChange, JobStore, type NewJob } from './job-store.js';
import { newJob } from './new-job.js';

export interface EnqueueOptions {
  /** Of two jobs with one key the first stays, for as long as its row is kept. */
  readonly dedupeKey?: string;
  /** Not before this point in time, by the database's clock; one that has passed means at once. Default: when `delayMs` of the command has passed. */
  readonly runAt?: Date;
}

export interface Enqueued {
  /** Of the job that has the dedupe key: an earlier one where `created` is false. */
  readonly id: string;
  /** False when a job with this dedupe key existed. */
  readonly created: boolean;
}

const OPTIONS: Readonly<Record<keyof EnqueueOptions, true>> = { dedupeKey: true, runAt: true };
const CANCELLED = 'It was cancelled';

/**
 * Queues commands, and changes what is queued: inside a unit of work with its COMMIT, outside in a transaction of its own. A job that
 * is running has to end first: a change of it answers `running`, and nothing has happened. Its methods throw TANDEM_EVENT_OUTSIDE_COMMAND in
 * what consumes the log, and TANDEM_QUERY_WROTE in a query handler.
 */
@Injectable()
export class DurableJobs {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly units: UnitOfWork,
    private readonly outbox: JobOutbox,
    private readonly store: JobStore,
  ) {}

  /** A queued command, or an `ExternalJob`. @throws TANDEM_WIRING for a command without `@QueuedCommand`, and an unknown option; TANDEM_VALIDATION for a `runAt` that is no time; TANDEM_PAYLOAD_REFUSED. */
  async enqueue(job: object, options: EnqueueOptions = {}): Promise<Enqueued> {
    const { dedupeKey = null, runAt } = knownOptions('DurableJobs.enqueue', options, OPTIONS);
    if (runAt !== undefined) mustBeTime(runAt);
    const row = newJob(job, currentMessage() ?? nextMessage(), { dedupeKey, runAt });
    return this.inUnit((unit) => this.put(unit, row));
  }

  /** A job that has not begun, or is parked, never runs; its row is kept as a done one's, and with it its dedupe key. `changed`, `running`, `ended` or `missing`. */
  async cancel(id: string): Promise<JobChange> {
    return this.change((unit) => this.store.discard(unit, id, CANCELLED));
  }

  /**
   * A job that has not begun runs from `runAt` on, by the database's clock, and no longer at the time it had; a point in time that has passed means at once.
   * `changed`, `held`, `running`, `parked` (see `retry`), `ended` or `missing`.
   * @throws TANDEM_VALIDATION for a `runAt` that is no time.
   */
  async reschedule(id: string, runAt: Date): Promise<JobChange> {
    mustBeTime(runAt);
    return this.change((unit) => this.store.reschedule(unit, id, runAt), this.outbox.until(runAt));
  }

  /** As `reschedule`, to now. A job of a sequence does not overtake the earlier ones: `held`. */
  async runNow(id: string): Promise<JobChange> {
    return this.change((unit) => this.store.reschedule(unit, id));
  }

  /** A parked job waits again, its attempts counted anew. False when no parked job has this id. */
  async retry(id: string): Promise<boolean> {
    this.refuseElsewhere();
    const tickets = await this.store.retryParked(id);
    await this.outbox.send(tickets);
    return tickets.length > 0;
  }

  /**
   * Gives up a job that is parked or has not begun: it never runs, and its row tells the reason for as long as it is kept. False when no
   * such job has this id; one that is running has to end first.
   * @throws TANDEM_VALIDATION without a reason.
   */
  async discard(id: string, reason: string): Promise<boolean> {
    if (typeof reason !== 'string' || reason.trim() === '')
      throw new TandemError('TANDEM_VALIDATION', `Job ${id} was to be discarded without a reason`, { data: { violations: [{ path: 'reason', message: 'reason must say why' }] } });
    const discarded = (await this.change((unit) => this.store.discard(unit, id, reason))) === 'changed';
    if (discarded) this.logger.log(`Job ${id} was discarded: ${reason}`);
    return discarded;
  }

  /** SQL first: what BullMQ still has of the job is stale from then on. */
  private change(inSql: (unit: Unit) => Promise<ChangedJob>, delayMs = 0): Promise<JobChange> {
    return this.inUnit(async (unit) => {
      const { change, left, ticket } = await inSql(unit);
      if (ticket) unit.afterCommit(() => void this.outbox.send([{ ...ticket, delayMs }]));
      if (left !== undefined) unit.afterCommit(() => void this.outbox.release([left]));
      return change;
    });
  }

  private async inUnit<T>(work: (unit: Unit) => Promise<T>): Promise<T> {
    this.refuseElsewhere();
    const unit = this.units.current;
    return unit?.kind === 'write' ? work(unit) : this.units.run(work);
  }

  /** Batches are repeated, and a query changes nothing. */
  private refuseElsewhere(): void {
    const kind = this.units.current?.kind;
    if (kind === 'snapshot') throw new TandemError('TANDEM_QUERY_WROTE', 'A query handler used DurableJobs');
    if (kind !== 'consumer') return;
    throw new TandemError('TANDEM_EVENT_OUTSIDE_COMMAND', 'DurableJobs was used inside a projection, a saga or a durable handler of events', {
      next: 'Return the command from a method of a @DurableSaga: it is queued with the batch, once for each event.',
    });
  }

  private async put(unit: Unit, job: NewJob, tries = 2): Promise<Enqueued> {
    const [id] = await this.outbox.put(unit, [job]);
    if (id !== undefined) return { id, created: true };
    const first = job.dedupeKey === null ? undefined : await this.store.withDedupeKey(unit, job.dedupeKey);
    // Where it was swept between the two statements, the key is free.
    return first === undefined && tries > 1 ? this.put(unit, job, tries - 1) : { id: first ?? job.id, created: false };
  }
}

function mustBeTime(runAt: unknown): void {
  if (runAt instanceof Date && Number.isFinite(runAt.getTime())) return;
  throw new TandemError('TANDEM_VALIDATION', 'A job was to run at what is no point in time', { data: { violations: [{ path: 'runAt', message: 'runAt must be a valid Date' }] } });
}
