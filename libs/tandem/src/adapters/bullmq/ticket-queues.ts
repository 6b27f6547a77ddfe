import type { BulkJobOptions } from 'bullmq';
import { TandemError } from '../../kernel/errors.js';
import type { QueueServer, TicketQueue } from './queue-server.js';
import { LateAnswer, within } from './within.js';

export interface NewTicket {
  readonly name: string;
  readonly data: unknown;
  readonly opts: BulkJobOptions;
}

/** The producing ends of the queues, opened when first used. */
export class TicketQueues {
  private readonly open = new Map<string, Promise<TicketQueue>>();

  constructor(
    private readonly server: QueueServer,
    private readonly openNow: (queue: string) => TicketQueue = (queue) => server.openQueue(queue),
  ) {}

  /** @throws TANDEM_QUEUE_UNAVAILABLE at once while the server is known to be away, else when it does not answer in time. */
  async add(queue: string, tickets: readonly NewTicket[]): Promise<void> {
    await this.on(queue, 'took no tickets for', (opened) => opened.addBulk([...tickets]));
  }

  /** How many tickets nobody has taken yet. @throws as `add` does. */
  async count(queue: string): Promise<number> {
    const counts = await this.on(queue, 'did not count', (opened) => opened.getJobCounts('wait', 'prioritized', 'delayed'));
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  /** Runs `work` on an open queue. @throws as `add` does. */
  async on<T>(queue: string, failed: string, work: (opened: TicketQueue) => Promise<T>): Promise<T> {
    try {
      const answer = await within(this.server.answerWithinMs, `queue ${queue}`, this.onOpen(queue, work));
      this.server.outage.over();
      return answer;
    } catch (error) {
      if (error instanceof LateAnswer) this.server.suspect();
      this.server.outage.report(error);
      if (error instanceof TandemError) throw error;
      throw new TandemError('TANDEM_QUEUE_UNAVAILABLE', `${this.server.label} ${failed} queue "${queue}"`, {
        cause: error,
        data: { queue },
        next: 'Nothing is lost: the reconciler goes on in SQL, and jobs resume when it is back.',
      });
    }
  }

  private async onOpen<T>(queue: string, work: (opened: TicketQueue) => Promise<T>): Promise<T> {
    await this.server.prepare();
    let opened = this.open.get(queue);
    if (!opened) {
      opened = this.openQueue(queue);
      this.open.set(queue, opened);
    }
    return work(await opened);
  }

  /** BullMQ remembers a failed first connection for ever, so such a queue is thrown away. */
  private async openQueue(queue: string): Promise<TicketQueue> {
    const opened = this.openNow(queue);
    try {
      await opened.waitUntilReady();
      return opened;
    } catch (error) {
      this.open.delete(queue);
      await opened.close().catch((closing: unknown) => this.server.outage.report(closing));
      throw error;
    }
  }

  async close(): Promise<void> {
    const queues = [...this.open.values()];
    this.open.clear();
    // One that never opened has reported that already.
    await Promise.allSettled(queues.map(async (queue) => within(this.server.answerWithinMs, 'closing a queue', (await queue).close())));
  }
}
