/**
 * Hands external jobs over to their queues: after the COMMIT that stored them, or when a worker's look finds them. As a run of a
 * queued command it is claimed first, so one that cannot be handed over for a reason of its own is parked in the end. A queue
 * server that is away is no such reason.
 */
import { Logger } from '@nestjs/common';
import { isTandemError } from '../kernel/errors.js';
import { retryDelay } from '../events/retry-delay.js';
import { inLanes, SingleRuns } from '../events/single-runs.js';
import type { JobSettings } from './job-settings.js';
import type { ClaimedJob, JobStore, JobTicket } from './job-store.js';
import type { ForeignJob, JobTransport } from './job-transport.js';

/** The queue of their rows; it is none of BullMQ's. A queued command cannot name it. */
export const EXTERNAL_QUEUE = ':external';

const LANES = 4;
/** The rest is found in SQL. */
const MAX_WAITING = 10_000;
const ATTEMPTS = 5;
const BACKOFF_MS = 1_000;
const AWAY_MS = 1_000;

export class ExternalJobs {
  private readonly logger = new Logger('Tandem');
  private readonly runs = new SingleRuns();
  private readonly stopping = new AbortController();
  private waiting: JobTicket[] = [];

  constructor(
    private readonly store: JobStore,
    private readonly transport: JobTransport,
    private readonly settings: Pick<JobSettings, 'jobLeaseMs'>,
    private readonly outcome: (error: unknown) => void,
  ) {}

  /** Never rejects. Resolves when they are handed over, or left to SQL. */
  async send(tickets: readonly JobTicket[]): Promise<void> {
    if (this.stopping.signal.aborted) return;
    this.waiting.push(...tickets.slice(0, MAX_WAITING - this.waiting.length));
    await this.runs.run(EXTERNAL_QUEUE, () => inLanes(LANES, () => this.workOff()), this.stopping.signal);
  }

  /** Those under way end, the others are left to SQL. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.waiting = [];
    await this.runs.ended();
  }

  private async workOff(): Promise<void> {
    for (let ticket = this.waiting.shift(); ticket; ticket = this.waiting.shift()) {
      try {
        const job = await this.store.claim(ticket, this.settings.jobLeaseMs);
        if (job) await this.handOver(job);
      } catch (error) {
        this.logger.warn(`External job ${ticket.id} could not be settled and comes again: ${String(error)}`);
      }
    }
  }

  private async handOver(job: ClaimedJob): Promise<void> {
    try {
      await this.transport.handOver({ ...(JSON.parse(job.payload) as Omit<ForeignJob, 'id'>), id: job.id });
    } catch (error) {
      return this.failed(job, error);
    }
    await this.store.complete(job);
    this.outcome(undefined);
  }

  private async failed(job: ClaimedJob, error: unknown): Promise<void> {
    if (isTandemError(error, 'TANDEM_QUEUE_UNAVAILABLE')) {
      this.waiting = [];
      this.outcome(error);
      await this.store.giveBack(job, error.message, AWAY_MS);
      return;
    }
    const isLast = job.attempts >= ATTEMPTS;
    this.logger.warn(`Job ${job.id} (${job.name}) could not be handed over, attempt ${job.attempts} of ${ATTEMPTS}${isLast ? ', and is parked' : ''}: ${String(error)}`);
    await this.store.fail(job, String(error), isLast ? undefined : retryDelay(job.attempts, BACKOFF_MS));
  }
}
