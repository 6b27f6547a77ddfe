/** Redis forgets single keys of a queue, as it does where it may evict them: what BullMQ then takes for "there already" comes all the same. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { OwnRedis } from '../../../../../test/support/own-redis.js';
import { BullMqJobTransport } from './bullmq-job-transport.js';
import { BullMqWakeUpTransport } from './bullmq-wake-up-transport.js';
import { RedisQueueServer } from './redis-queue-server.js';

const eventually = { timeout: 25_000, interval: 20 };
const job = (id: string) => ({ id, epoch: 0, queue: 'mail' });
const WINDOW_MS = 300_000;

describe.runIf(OwnRedis.available)('Redis forgets', () => {
  let redis: OwnRedis;
  let keys: Redis;
  let server: RedisQueueServer;
  let jobs: BullMqJobTransport;
  let wakeUps: BullMqWakeUpTransport;
  let now: number;
  let queues = 0;

  beforeAll(async () => {
    redis = await OwnRedis.planned();
    await redis.start();
    keys = new Redis(redis.url);
  });
  afterAll(async () => {
    keys.disconnect();
    await redis.kill();
  });
  beforeEach(async () => {
    now = 0;
    server = new RedisQueueServer({ connection: redis.url, queuePrefix: `t${(queues += 1)}`, allowEviction: false });
    jobs = new BullMqJobTransport(server);
    wakeUps = new BullMqWakeUpTransport(server, () => now);
    await server.onModuleInit();
  });
  afterEach(() => server.onApplicationShutdown());

  /** All keys of the queue whose name ends so. */
  async function forget(ending: string): Promise<void> {
    const found = (await keys.keys(`*t${queues}.*`)).filter((key) => key.endsWith(ending));
    expect(found).not.toEqual([]);
    await keys.del(...found);
  }

  it.each([':wait', ':meta', ':id', ':marker', ':events', ':j-lost-0'])('the key %s of a queue of jobs: one ticket more, and the job comes', async (ending) => {
    await jobs.add([job('lost')]);
    await forget(ending);
    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await jobs.add([{ ...job('lost'), again: 1 }]);
    await vi.waitFor(() => expect(received).toContain('lost'), eventually);
    await jobs.add([job('next')]);
    await vi.waitFor(() => expect(received).toContain('next'), eventually);
  });

  it('the list of those that wait: the same ticket does not come, which is why there is another', async () => {
    await jobs.add([job('lost')]);
    await forget(':wait');
    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await jobs.add([job('lost')]);
    await jobs.add([job('next')]);
    await vi.waitFor(() => expect(received).toEqual(['next']), eventually);
  });

  it('the tickets that are delayed', async () => {
    await jobs.add([{ ...job('lost'), delayMs: 60_000 }]);
    await forget(':delayed');
    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await jobs.add([{ ...job('lost'), again: 1 }]);
    await vi.waitFor(() => expect(received).toEqual(['lost']), eventually);
  });

  it('who runs a job: its other ticket comes, and the first run is settled without noise', async () => {
    const received: string[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await jobs.work('mail', 2, async ({ id }) => {
      received.push(id);
      if (received.length === 1) await held;
    });
    await jobs.add([job('lost')]);
    await vi.waitFor(() => expect(received).toEqual(['lost']), eventually);
    await forget(':active');
    await jobs.add([{ ...job('lost'), again: 1 }]);
    await vi.waitFor(() => expect(received).toEqual(['lost', 'lost']), eventually);
    release();
    await jobs.add([job('next')]);
    await vi.waitFor(() => expect(received).toContain('next'), eventually);
  });

  it.each([':wait', ':de:orders@0', ':1'])('the key %s of the wake-ups: a later one comes', async (ending) => {
    await wakeUps.signal(['orders']);
    await forget(ending);
    now += WINDOW_MS;
    await wakeUps.signal(['orders']);
    const woken: string[] = [];
    await wakeUps.listen(({ consumer }) => Promise.resolve(void woken.push(consumer)), 1);
    await vi.waitFor(() => expect(woken).toContain('orders'), eventually);
  });
});
