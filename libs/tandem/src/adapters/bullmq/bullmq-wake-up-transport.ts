import { WakeUpTransport } from '../../events/wake-up-transport.js';
import type { QueueServer } from './queue-server.js';
import { TicketQueues } from './ticket-queues.js';
import { TicketWorkers } from './ticket-workers.js';

const QUEUE = 'wake-ups';

/**
 * Wake-ups of different windows are not the same to BullMQ: where it lost one and still knows that it is there, it leaves alone
 * the later ones until this time is up. Meanwhile the reconciler looks.
 */
const WINDOW_MS = 300_000;

interface WakeUp {
  readonly consumer: string;
}

/**
 * One queue for all consumers. BullMQ keeps at most one waiting and one running wake-up of each consumer; a signal that comes
 * while it runs makes it run once more, so no signal is lost in between.
 */
export class BullMqWakeUpTransport extends WakeUpTransport {
  private readonly queues: TicketQueues;
  private readonly workers: TicketWorkers;

  constructor(
    server: QueueServer,
    private readonly now: () => number = Date.now,
  ) {
    super();
    this.queues = new TicketQueues(server);
    this.workers = new TicketWorkers(server);
    server.beforeClose(async () => {
      await this.workers.stop(0);
      await this.queues.close();
    });
  }

  override async signal(consumers: readonly string[]): Promise<void> {
    if (consumers.length === 0) return;
    const window = Math.floor(this.now() / WINDOW_MS);
    const wakeUps = [...new Set(consumers)].toSorted().map((consumer) => ({
      name: 'wake-up',
      data: { consumer } satisfies WakeUp,
      opts: { deduplication: { id: `${consumer}@${window}`, keepLastIfActive: true }, removeOnComplete: true, removeOnFail: true },
    }));
    await this.queues.add(QUEUE, wakeUps);
  }

  override listen(handler: (consumer: string) => Promise<void>, concurrency: number): Promise<void> {
    this.workers.start({
      queue: QUEUE,
      concurrency,
      process: async (data) => {
        const { consumer } = data as Partial<WakeUp>;
        if (consumer !== undefined) await handler(consumer); // else a part of Redis was lost, and the reconciler looks
      },
    });
    return Promise.resolve();
  }

  override stop(drainMs: number): Promise<void> {
    return this.workers.stop(drainMs);
  }
}
