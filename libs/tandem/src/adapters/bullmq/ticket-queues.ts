import type { BulkJobOptions } from 'bullmq';
import { TandemError } from '../../kernel/errors.js';
import type { QueueServer, TicketQueue } from './queue-server.js';
import { LateAnswer, within } from './within.js';

export interface NewTicket {
  readonly name: string;
  readonly data: object;
  readonly opts: BulkJobOptions;
}

/** The producing ends of the queues, opened when first used. */
export class TicketQueues {
  private readonly open = new Map<string, Promise<TicketQueue>>();

  constructor(private readonly server: QueueServer) {}

  /** @throws TANDEM_QUEUE_UNAVAILABLE at once while the server is known to be away, else when it does not answer in time. */
  add(queue: string, tickets: readonly NewTicket[]): Promise<void> {
    return this.on(queue, `adding to ${queue}`, async (opened) => {
      await opened.addBulk([...tickets]);
    });
  }

  /** Runs `work` on an open queue. @throws as {@link add}. */
  async on(queue: string, what: string, work: (opened: TicketQueue) => Promise<void>): Promise<void> {
    try {
      await within(this.server.answerWithinMs, what, this.onNow(queue, work));
      this.server.outage.over();
    } catch (error) {
      if (error instanceof LateAnswer) this.server.suspect();
      this.server.outage.report(error);
      if (error instanceof TandemError) throw error;
      throw new TandemError('TANDEM_QUEUE_UNAVAILABLE', `${this.server.label} took no tickets for queue "${queue}"`, {
        cause: error,
        data: { queue },
        next: 'Nothing is lost: the reconciler goes on in SQL, and jobs resume when it is back.',
      });
    }
  }

  private async onNow(queue: string, work: (opened: TicketQueue) => Promise<void>): Promise<void> {
    await this.server.prepare();
    let opened = this.open.get(queue);
    if (!opened) {
      opened = this.openQueue(queue);
      this.open.set(queue, opened);
    }
    await work(await opened);
  }

  /** BullMQ remembers a failed first connection for ever, so such a queue is thrown away. */
  private async openQueue(queue: string): Promise<TicketQueue> {
    const opened = this.server.openQueue(queue);
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
