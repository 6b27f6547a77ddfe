import type { SharedTicket } from '../../jobs/job-store.js';
import { type ForeignJob, JobTransport, type NewTicket } from '../../jobs/job-transport.js';
import type { QueueServer } from './queue-server.js';
import { TicketQueues } from './ticket-queues.js';
import { TicketWorkers } from './ticket-workers.js';

interface TicketData {
  readonly id: string;
  readonly epoch: number;
  readonly others?: readonly string[];
}

/** Apart from the queue of wake-ups, whatever a queue is called. */
const jobQueue = (queue: string): string => `jobs.${queue}`;

/**
 * One BullMQ queue per queue of commands. A ticket leaves BullMQ when its run ends, well or badly, so that adding it again is
 * never silently ignored; how often a command is tried is settled in SQL.
 */
export class BullMqJobTransport extends JobTransport {
  private readonly queues: TicketQueues;
  /** By prefix and name, which has no colon. */
  private readonly foreign: TicketQueues;
  private readonly workers: TicketWorkers;

  constructor(server: QueueServer) {
    super();
    this.queues = new TicketQueues(server);
    this.foreign = new TicketQueues(server, (place) => server.openForeignQueue(place.slice(place.lastIndexOf(':') + 1), place.slice(0, place.lastIndexOf(':'))));
    this.workers = new TicketWorkers(server);
    server.beforeClose(async () => {
      await this.workers.stop(0);
      await Promise.all([this.queues.close(), this.foreign.close()]);
    });
  }

  override async add(tickets: readonly NewTicket[]): Promise<void> {
    const names = [...new Set(tickets.map(({ queue }) => queue))];
    await Promise.all(names.map((queue) => this.queues.add(jobQueue(queue), tickets.filter((ticket) => ticket.queue === queue).map(asBullMqJob))));
  }

  override handOver({ attempts, data, id, name, prefix, priority, queue }: ForeignJob): Promise<void> {
    return this.foreign.add(`${prefix}:${queue}`, [{ name, data, opts: { jobId: id, attempts, priority } }]);
  }

  override queued(queue: string): Promise<number> {
    return this.queues.count(jobQueue(queue));
  }

  override work(queue: string, concurrency: number, handler: (ticket: SharedTicket) => Promise<void>): Promise<void> {
    this.workers.start({
      queue: jobQueue(queue),
      concurrency,
      process: async (data) => {
        const { id, epoch, others } = data as Partial<TicketData>;
        if (id !== undefined && epoch !== undefined) await handler({ id, epoch, queue, others }); // else a part of Redis was lost, and the reconciler adds it anew
      },
    });
    return Promise.resolve();
  }

  override stop(drainMs: number): Promise<void> {
    return this.workers.stop(drainMs);
  }
}

const asBullMqJob = ({ id, epoch, others, delayMs = 0, priority = 0, again = 0 }: NewTicket) => ({
  name: 'job',
  data: { id, epoch, others } satisfies TicketData,
  opts: { jobId: `j-${id}-${epoch}${again > 0 ? `-${again}` : ''}`, delay: delayMs, priority, attempts: 1, removeOnComplete: true, removeOnFail: true },
});
