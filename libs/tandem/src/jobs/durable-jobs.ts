import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';
import { currentMessage, nextMessage } from '../kernel/message-context.js';
import { type Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { JobOutbox, newJob } from './job-outbox.js';
import { JobStore, type NewJob } from './job-store.js';

export interface EnqueueOptions {
  /** Of two jobs with one key the first stays, for as long as its row is kept. */
  readonly dedupeKey?: string;
}

export interface Enqueued {
  /** Of the job that has the dedupe key: an earlier one where `created` is false. */
  readonly id: string;
  /** False when a job with this dedupe key existed. */
  readonly created: boolean;
}

const OPTIONS: Readonly<Record<keyof EnqueueOptions, true>> = { dedupeKey: true };

/** Queues commands: inside a unit of work with its COMMIT, outside in a transaction of its own. Retries and discards those that failed. */
@Injectable()
export class DurableJobs {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly units: UnitOfWork,
    private readonly outbox: JobOutbox,
    private readonly store: JobStore,
  ) {}

  /** @throws TANDEM_WIRING for a command without `@QueuedCommand`, and an unknown option. */
  async enqueue(command: object, options: EnqueueOptions = {}): Promise<Enqueued> {
    const { dedupeKey = null } = knownOptions('DurableJobs.enqueue', options, OPTIONS);
    const job = newJob(command, currentMessage() ?? nextMessage(), dedupeKey);
    const unit = this.units.current;
    return unit?.kind === 'write' ? this.put(unit, job) : this.units.run((own) => this.put(own, job));
  }

  /** A parked job waits again, its attempts counted anew. False when no parked job has this id. */
  async retry(id: string): Promise<boolean> {
    const tickets = await this.store.retryParked(id);
    await this.outbox.send(tickets);
    return tickets.length > 0;
  }

  /**
   * Gives up a job that is parked or waits: it never runs, and its row tells the reason for as long as it is kept. False when no
   * such job has this id; one that is running has to end first.
   * @throws TANDEM_VALIDATION without a reason.
   */
  async discard(id: string, reason: string): Promise<boolean> {
    if (typeof reason !== 'string' || reason.trim() === '')
      throw new TandemError('TANDEM_VALIDATION', `Job ${id} was to be discarded without a reason`, { data: { violations: [{ path: 'reason', message: 'reason must say why' }] } });
    const discarded = await this.store.discard(id, reason);
    if (discarded) this.logger.log(`Job ${id} was discarded: ${reason}`);
    return discarded;
  }

  private async put(unit: Unit, job: NewJob, tries = 2): Promise<Enqueued> {
    const [id] = await this.outbox.put(unit, [job]);
    if (id !== undefined) return { id, created: true };
    const first = job.dedupeKey === null ? undefined : await this.store.withDedupeKey(unit, job.dedupeKey);
    // Where it was swept between the two statements, the key is free.
    return first === undefined && tries > 1 ? this.put(unit, job, tries - 1) : { id: first ?? job.id, created: false };
  }
}
