/** How long after its COMMIT a command's row is visible, API and worker apart, beside the round trip of an empty BullMQ job. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, QueueEvents } from 'bullmq';
import type { Pool, RowDataPacket } from 'mysql2/promise';
import { anAccount } from './commands.js';
import { Charge, startLedger } from './ledger.js';
import { placeBehind, resume } from './position.js';
import { median, quantile, say, type Stage } from './stage.js';
import { ECHO, startWorkerProcess } from './worker-process.js';

const PER_SECOND = 100;

export type Latencies = readonly number[];

export async function visible(stage: Stage): Promise<void> {
  const { place, pool, rounds, seconds } = stage;
  await placeBehind(pool);
  await resume(pool);
  const { app, commands } = await startLedger(place, { role: 'api' });
  const worker = await startWorkerProcess(place);
  const connection = { url: place.redisUrl };
  const queue = new Queue(ECHO, { connection, prefix: place.queuePrefix });
  const events = new QueueEvents(ECHO, { connection, prefix: place.queuePrefix });
  await events.waitUntilReady();
  const eyes = new Eyes(pool);
  const command = async () => {
    const id = randomUUID();
    await commands.execute(new Charge(id, anAccount()));
    return eyes.see(id);
  };
  const job = async () => {
    const start = performance.now();
    const added = await queue.add('empty', {}, { removeOnComplete: 10_000 });
    await added.waitUntilFinished(events);
    return performance.now() - start;
  };
  const trips: Latencies[] = [];
  const views: Latencies[] = [];
  await paced(command, 1, PER_SECOND); // both sides warm
  for (let round = 0; round < rounds; round++) {
    trips.push(await paced(job, seconds, PER_SECOND));
    views.push(await paced(command, seconds, PER_SECOND));
  }
  await eyes.close();
  report(trips, views);
  await worker.stop();
  await queue.obliterate({ force: true });
  await Promise.all([events.close(), queue.close(), app.close()]);
}

function report(trips: readonly Latencies[], views: readonly Latencies[]): void {
  const of = (rounds: readonly Latencies[], share: number) => median(rounds.map((latencies) => quantile(latencies, share)));
  const ratio = (share: number) => median(views.map((latencies, round) => quantile(latencies, share) / quantile(trips[round]!, share)));
  say(`\n| at ${PER_SECOND} a second | p50 ms | p99 ms | p50 ratio | p99 ratio |\n| --- | ---: | ---: | ---: | ---: |`);
  say(`| an empty BullMQ job, there and back | ${of(trips, 0.5).toFixed(1)} | ${of(trips, 0.99).toFixed(1)} | 1.00 | 1.00 |`);
  say(`| COMMIT to visible row | ${of(views, 0.5).toFixed(1)} | ${of(views, 0.99).toFixed(1)} | ${ratio(0.5).toFixed(2)} | ${ratio(0.99).toFixed(2)} |`);
}

/** Begins `work` at an even pace, whether or not the last one has ended. */
export async function paced(work: () => Promise<number>, seconds: number, rate: number): Promise<Latencies> {
  const running: Promise<number>[] = [];
  const start = performance.now();
  for (let n = 0; n < seconds * rate; n++) {
    await sleep(Math.max(0, start + (n * 1_000) / rate - performance.now()));
    running.push(work());
  }
  return Promise.all(running);
}

interface Waiting {
  readonly since: number;
  readonly seen: (ms: number) => void;
}

/** Looks for the rows that somebody waits for, again and again with a pause of a millisecond. */
export class Eyes {
  private readonly waiting = new Map<string, Waiting>();
  private closing = false;
  private readonly looking = this.look();

  constructor(private readonly pool: Pool) {}

  see(id: string): Promise<number> {
    return new Promise((seen) => this.waiting.set(id, { since: performance.now(), seen }));
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.looking;
  }

  private async look(): Promise<void> {
    while (!this.closing) {
      await sleep(1);
      if (this.waiting.size === 0) continue;
      const [rows] = await this.pool.query<(RowDataPacket & { id: string })[]>('SELECT id FROM bench_view WHERE id IN (?)', [[...this.waiting.keys()]]);
      for (const { id } of rows) {
        const { seen, since } = this.waiting.get(id)!;
        seen(performance.now() - since);
        this.waiting.delete(id);
      }
    }
  }
}
