import { Logger } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import { OwnRedis } from '../../../../../test/support/own-redis.js';
import { WakeUpTransport } from '../../events/wake-up-transport.js';
import { JobTransport } from '../../jobs/job-transport.js';
import { InvalidationChannel } from '../../read/query-cache/invalidation-channel.js';
import { bullMqJobs, type BullMqJobsOptions } from './bullmq-jobs.js';
import { QueueServer } from './queue-server.js';
import { RedisQueueServer } from './redis-queue-server.js';

const eventually = { timeout: 25_000, interval: 20 };
/** Of one connection: what it asks on its own account. */
const FEW = 5;
interface Queued {
  readonly commandQueue: { readonly length: number };
  readonly offlineQueue: { readonly length: number };
}
const UNAVAILABLE = { code: 'TANDEM_QUEUE_UNAVAILABLE' };

describe.runIf(OwnRedis.available)('while Redis is away', () => {
  let redis: OwnRedis;
  let modules: TestingModule[];
  let warned: MockInstance;

  async function start(options: Partial<BullMqJobsOptions> = {}) {
    const module = await Test.createTestingModule({ providers: bullMqJobs({ connection: redis.url, ...options }).providers }).compile();
    modules.push(module);
    await module.init();
    return { module, wakeUps: module.get(WakeUpTransport), jobs: module.get(JobTransport), channel: module.get(InvalidationChannel) };
  }
  const outages = () => warned.mock.calls.filter(([line]) => String(line).includes('does not answer'));

  beforeEach(async () => {
    redis = await OwnRedis.planned();
    modules = [];
    warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  });
  afterEach(async () => {
    redis.resume();
    await Promise.all(modules.map((module) => module.close()));
    await redis.kill();
    vi.restoreAllMocks();
  });

  it('refuses producers, says so once, and carries everything again when it is back', async () => {
    await redis.start();
    const { wakeUps, jobs } = await start();
    const woken: string[] = [];
    const received: string[] = [];
    await wakeUps.listen(({ consumer }) => Promise.resolve(void woken.push(consumer)), 2);
    await jobs.work('mail', 2, ({ id }) => Promise.resolve(void received.push(id)));
    await wakeUps.signal(['before']);
    await jobs.add([{ id: 'before', epoch: 0, queue: 'mail' }]);
    await vi.waitFor(() => expect([...woken, ...received]).toEqual(['before', 'before']), eventually);

    await redis.kill();
    await vi.waitFor(() => expect(wakeUps.signal(['away'])).rejects.toMatchObject(UNAVAILABLE), eventually);
    const refused = await Promise.allSettled(Array.from({ length: 500 }, (_, i) => jobs.add([{ id: `away-${i}`, epoch: 0, queue: 'mail' }])));
    expect(refused.every((outcome) => outcome.status === 'rejected')).toBe(true);

    await redis.start();
    await vi.waitFor(async () => {
      await wakeUps.signal(['after']);
      await jobs.add([{ id: 'after', epoch: 0, queue: 'mail' }]);
    }, eventually);
    await vi.waitFor(() => {
      expect(woken).toContain('after');
      expect(received).toContain('after');
    }, eventually);
    expect(received.filter((id) => id.startsWith('away'))).toEqual([]);
    expect(outages()).toHaveLength(1);
  });

  it('lets the application start, and works once it is there', async () => {
    const { wakeUps } = await start();
    const woken: string[] = [];
    await wakeUps.listen(({ consumer }) => Promise.resolve(void woken.push(consumer)), 1);
    await expect(wakeUps.signal(['early'])).rejects.toMatchObject(UNAVAILABLE);
    await redis.start();
    await vi.waitFor(() => wakeUps.signal(['late']), eventually);
    await vi.waitFor(() => expect(woken).toEqual(['late']), eventually);
  });

  it('refuses in bounded time where Redis takes commands and answers none', async () => {
    await redis.start();
    const { jobs } = await start();
    await jobs.add([{ id: 'first', epoch: 0, queue: 'mail' }]);
    redis.pause();
    await expect(jobs.add([{ id: 'second', epoch: 0, queue: 'mail' }])).rejects.toMatchObject(UNAVAILABLE);
    redis.resume();
    await vi.waitFor(() => jobs.add([{ id: 'third', epoch: 0, queue: 'mail' }]), eventually);
  });

  it.each(['kill', 'pause'] as const)('keeps nothing that grows while it is away (%s): not of producers, not of workers, not of caches', async (how) => {
    await redis.start();
    const opened = vi.spyOn(RedisQueueServer.prototype, 'openWorker');
    const { module, wakeUps, jobs, channel } = await start();
    await wakeUps.listen(() => Promise.resolve(), 2);
    await jobs.work('mail', 2, () => Promise.resolve());
    await channel.subscribe(
      () => undefined,
      () => undefined,
    );
    await vi.waitFor(() => expect(channel.connected).toBe(true), eventually);
    await vi.waitFor(() => expect(opened.mock.results).toHaveLength(2), eventually);
    const workers = opened.mock.results.map(({ value }) => (value as { worker: { backend: { client: Promise<Queued> } } }).worker);
    const clients = await Promise.all(workers.map(({ backend }) => backend.client));
    const producer = (module.get(QueueServer) as unknown as { redis: Queued }).redis;
    const pending = (client: Queued) => client.commandQueue.length + client.offlineQueue.length;

    await redis[how]();
    await vi.waitFor(() => expect(jobs.add([{ id: 'first', epoch: 0, queue: 'mail' }])).rejects.toMatchObject(UNAVAILABLE), eventually);
    for (let round = 0; round < 10; round++) {
      const sends = Array.from({ length: 200 }, (_, n) => [
        jobs.add([{ id: `job-${round}-${n}`, epoch: 0, queue: 'mail' }]),
        wakeUps.signal([`consumer-${n}`]),
        channel.publish([`Entity${n % 3}`]),
      ]);
      await Promise.allSettled(sends.flat());
    }
    expect(pending(producer)).toBeLessThanOrEqual(FEW);
    for (const client of clients) expect(pending(client)).toBeLessThanOrEqual(FEW);
    // One name for each entity that changed, however often it did.
    expect((channel as unknown as { unsent: Set<string> }).unsent.size).toBeLessThanOrEqual(3);
  });

  it('stops although it is away', async () => {
    await redis.start();
    const { wakeUps, module } = await start();
    await wakeUps.listen(() => Promise.resolve(), 1);
    await wakeUps.signal(['one']);
    await redis.kill();
    await vi.waitFor(() => expect(wakeUps.signal(['two'])).rejects.toMatchObject(UNAVAILABLE), eventually);
    await wakeUps.stop(100);
    await module.close();
  });

  it('tells a cache that it may have missed changes, and hears them again afterwards', async () => {
    await redis.start();
    const [one, two] = [await start(), await start()];
    const heard: string[] = [];
    let lost = 0;
    await one.channel.subscribe(
      (entities) => void heard.push(...entities),
      () => (lost += 1),
    );
    await vi.waitFor(() => expect(one.channel.connected).toBe(true), eventually);
    await two.channel.publish(['Order']);
    await vi.waitFor(() => expect(heard).toEqual(['Order']), eventually);

    const before = lost;
    await redis.kill();
    await vi.waitFor(() => expect(one.channel.connected).toBe(false), eventually);
    expect(lost).toBeGreaterThan(before);
    await two.channel.publish(['Customer']);
    const whileAway = lost;

    await redis.start();
    await vi.waitFor(() => expect(one.channel.connected).toBe(true), eventually);
    expect(lost).toBeGreaterThan(whileAway);
    await two.channel.publish(['Product']);
    await vi.waitFor(() => expect(heard).toContain('Product'), eventually);
  });

  it('notices a connection that is dead without being closed', async () => {
    await redis.start();
    const { channel } = await start();
    await channel.subscribe(
      () => undefined,
      () => undefined,
    );
    await vi.waitFor(() => expect(channel.connected).toBe(true), eventually);
    redis.pause();
    await vi.waitFor(() => expect(channel.connected).toBe(false), eventually);
    redis.resume();
    await vi.waitFor(() => expect(channel.connected).toBe(true), eventually);
  });

  it('refuses to start where the password is wrong or missing: that does not mend itself', async () => {
    await redis.start('--requirepass', 's3cret');
    vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    for (const password of ['', ':wrong@']) {
      const connection = redis.url.replace('://', `://${password}`);
      await expect(start({ connection })).rejects.toMatchObject({ code: 'TANDEM_WIRING', message: expect.stringContaining('refuses user or password') as string });
    }
    const { jobs } = await start({ connection: redis.url.replace('://', '://:s3cret@') });
    await jobs.add([{ id: 'one', epoch: 0, queue: 'mail' }]);
  });

  it('refuses to start on a Redis that evicts keys, unless told to', async () => {
    await redis.start('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
    await expect(start()).rejects.toMatchObject({ code: 'TANDEM_WIRING', message: expect.stringContaining('allkeys-lru') as string });
    const { jobs } = await start({ allowEviction: true });
    await jobs.add([{ id: 'one', epoch: 0, queue: 'mail' }]);
  });
});
