import type { RepeatOptions } from 'bullmq';
import { nextSlot, type Schedule, scheduleText } from '../../events/run-condition.js';
import { type ScheduledWakeUps, type WakeUp, WakeUpTransport } from '../../events/wake-up-transport.js';
import type { QueueServer } from './queue-server.js';
import { TicketQueues } from './ticket-queues.js';
import { TicketWorkers } from './ticket-workers.js';

const QUEUE = 'wake-ups';
const GONE_WHEN_DONE = { removeOnComplete: true, removeOnFail: true } as const;

/**
 * Wake-ups of different windows are not the same to BullMQ: where it lost one and still knows that it is there, it leaves alone
 * the later ones until this time is up. Meanwhile the reconciler looks.
 */
const WINDOW_MS = 300_000;

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

  override async signal(consumers: readonly string[], forced = false): Promise<void> {
    if (consumers.length === 0) return;
    const window = Math.floor(this.now() / WINDOW_MS);
    const wakeUps = [...new Set(consumers)].toSorted().map((consumer) => ({
      name: 'wake-up',
      data: { consumer, forced } satisfies WakeUp,
      opts: { deduplication: { id: `${consumer}${forced ? '!' : ''}@${window}`, keepLastIfActive: true }, ...GONE_WHEN_DONE },
    }));
    await this.queues.add(QUEUE, wakeUps);
  }

  /** One job scheduler for each consumer, under its name. */
  override arrange({ scheduled, unscheduled }: ScheduledWakeUps): Promise<void> {
    const gone = new Set(unscheduled);
    return this.queues.on(QUEUE, 'did not arrange wake-ups in', async (queue) => {
      for (const { key } of await queue.getJobSchedulers()) if (gone.has(key)) await queue.removeJobScheduler(key);
      for (const { consumer, schedule } of scheduled) {
        const data: WakeUp = { consumer, forced: false, schedule: scheduleText(schedule) };
        await queue.upsertJobScheduler(consumer, repeatOf(schedule), { name: 'scheduled', data, opts: GONE_WHEN_DONE });
      }
    });
  }

  override listen(handler: (wakeUp: WakeUp) => Promise<void>, concurrency: number): Promise<void> {
    this.workers.start({
      queue: QUEUE,
      concurrency,
      process: async (data) => {
        const { consumer, forced = false, schedule } = data as Partial<WakeUp>;
        if (consumer !== undefined) await handler({ consumer, forced, schedule }); // else a part of Redis was lost, and the reconciler looks
      },
    });
    return Promise.resolve();
  }

  override stop(drainMs: number): Promise<void> {
    return this.workers.stop(drainMs);
  }
}

/** BullMQ begins at once and counts from there, unless it is told when to begin: at a slot. */
const repeatOf = (schedule: Schedule): Omit<RepeatOptions, 'key'> =>
  'everyMs' in schedule ? { every: schedule.everyMs, startDate: nextSlot(schedule, Date.now()) } : { pattern: schedule.cron, tz: schedule.timezone };
