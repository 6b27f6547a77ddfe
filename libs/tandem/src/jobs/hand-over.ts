/**
 * A worker's own look into SQL for jobs that are due and have no ticket. Of a queue that is *long* (more is due than one look
 * takes) BullMQ has the first `maxQueuedTickets` at most; when it has worked off three quarters of them, the next ones follow.
 */
import { SingleRuns } from '../events/single-runs.js';
import { EXTERNAL_QUEUE } from './external-jobs.js';
import type { JobOutbox } from './job-outbox.js';
import type { JobSettings } from './job-settings.js';
import type { JobStore, NamedTicket } from './job-store.js';
import type { JobTransport, NewTicket } from './job-transport.js';
import { OverdueTickets } from './overdue-tickets.js';
import { sharedTickets } from './shared-tickets.js';

/** Jobs of one queue that a look takes. */
const LOOK_LIMIT = 500;

export interface HandOverPorts {
  readonly store: JobStore;
  readonly transport: JobTransport;
  readonly outbox: JobOutbox;
  readonly settings: Pick<JobSettings, 'maxQueuedTickets' | 'reconcileEveryMs'>;
  /** How many jobs of this command may share a ticket. */
  readonly batchSizeOf: (name: string) => number;
  readonly stop: AbortSignal;
}

export class HandOver {
  private readonly overdue = new OverdueTickets();
  private readonly fills = new SingleRuns();
  /** Long queue → how many of its jobs have run here since it was filled up. */
  private readonly long = new Map<string, number>();

  constructor(private readonly ports: HandOverPorts) {}

  async look(queues: readonly string[]): Promise<void> {
    const { outbox, settings, store } = this.ports;
    const limit = Math.min(LOOK_LIMIT, settings.maxQueuedTickets);
    // A ticket is on its way for about a second before it counts as missing.
    const due = this.overdue.counted(await store.due(queues, settings.reconcileEveryMs, limit));
    const found = new Map<string, number>();
    for (const { queue } of due) found.set(queue, (found.get(queue) ?? 0) + 1);
    const long = queues.filter((queue) => queue !== EXTERNAL_QUEUE && (found.get(queue) ?? 0) >= limit);
    for (const queue of queues) if (!long.includes(queue)) this.long.delete(queue);
    await outbox.send(this.shared(due.filter(({ again, queue }) => again > 0 || !long.includes(queue))));
    for (const queue of long) await this.fillUp(queue);
  }

  /** So many jobs of a ticket have run. A long queue is not kept waiting for the next look. */
  ended(queue: string, jobs: number): void {
    const before = this.long.get(queue);
    if (before === undefined) return;
    const ran = before + jobs;
    this.long.set(queue, ran);
    if (ran >= this.ports.settings.maxQueuedTickets / 8) void this.fillUp(queue).catch((error: unknown) => this.ports.outbox.outcome(error));
  }

  private shared(due: readonly (NamedTicket & NewTicket)[]): readonly NewTicket[] {
    return sharedTickets(due, this.ports.batchSizeOf);
  }

  private fillUp(queue: string): Promise<void> {
    return this.fills.run(queue, () => this.fill(queue), this.ports.stop);
  }

  private async fill(queue: string): Promise<void> {
    const { outbox, settings, store, transport } = this.ports;
    const { maxQueuedTickets, reconcileEveryMs } = settings;
    this.long.set(queue, 0);
    try {
      const queued = await transport.queued(queue);
      if (queued > maxQueuedTickets / 4) return;
      // The first of these are those that are there already: no news to BullMQ, but where they share tickets in other groups. Such a ticket finds nothing to claim.
      const due = await store.due([queue], reconcileEveryMs, maxQueuedTickets - queued);
      await outbox.fill(this.shared(due));
    } catch (error) {
      outbox.outcome(error);
    }
  }
}
