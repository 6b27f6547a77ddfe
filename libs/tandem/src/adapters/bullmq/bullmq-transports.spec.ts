import { randomUUID } from 'node:crypto';
import { Test, type TestingModule } from '@nestjs/testing';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { redisBackend, sqlBackends } from '../../../../../test/support/backends.js';
import { WakeUpTransport } from '../../events/wake-up-transport.js';
import type { JobTicket } from '../../jobs/job-store.js';
import { JobTransport } from '../../jobs/job-transport.js';
import type { TandemJobs } from '../../kernel/adapter.js';
import { QueueServer } from './queue-server.js';
import { bullMqJobs, postgresJobs } from './bullmq-jobs.js';

interface Place {
  readonly name: string;
  open(): Promise<{ jobs(queuePrefix: string): TandemJobs; cleanUp(): Promise<void> }>;
}

const redis = redisBackend();
const places: Place[] = [
  ...(redis ? [{ name: 'Redis', open: () => onRedis(redis.url) }] : []),
  ...sqlBackends()
    .filter(({ dialect }) => dialect === 'postgres')
    .map((backend) => ({ name: backend.name, open: () => onPostgres(backend) })),
];

function onRedis(connection: string) {
  const { prefix, cleanUp } = redis!.namespace();
  return Promise.resolve({ jobs: (own: string) => bullMqJobs({ connection, queuePrefix: `${prefix}.${own}` }), cleanUp });
}

async function onPostgres(backend: ReturnType<typeof sqlBackends>[number]) {
  const database = await backend.create();
  const config = () => Promise.resolve({ connectionString: database.url });
  const jobs = (queuePrefix: string) =>
    backend.name === 'pglite'
      ? postgresJobs({ label: 'PGlite', config, Pool: pg.Pool, oneSession: true, queuePrefix })
      : bullMqJobs({ connection: { postgres: database.url }, queuePrefix });
  return { jobs, cleanUp: () => database.drop() };
}

const eventually = { timeout: 20_000, interval: 20 };
const ticket = (queue: string, id: string = randomUUID(), epoch = 0): JobTicket => ({ id, epoch, queue });

describe.each(places)('BullMQ on $name', { timeout: 60_000 }, ({ open }) => {
  let place: Awaited<ReturnType<Place['open']>>;
  let modules: TestingModule[];
  let queues = 0;

  async function start(): Promise<{ wakeUps: WakeUpTransport; jobs: JobTransport; module: TestingModule }> {
    const module = await Test.createTestingModule({ providers: place.jobs(`t${queues}`).providers }).compile();
    await module.init();
    modules.push(module);
    return { wakeUps: module.get(WakeUpTransport), jobs: module.get(JobTransport), module };
  }

  beforeAll(async () => {
    place = await open();
  });
  afterAll(() => place.cleanUp());
  beforeEach(() => {
    queues += 1;
    modules = [];
  });
  afterEach(async () => {
    await Promise.all(modules.map((module) => module.close()));
  });

  it('delivers a wake-up for each consumer, also one signalled before anybody listened', async () => {
    const { wakeUps } = await start();
    await wakeUps.signal(['early']);
    const woken: string[] = [];
    await wakeUps.listen(({ consumer }) => Promise.resolve(void woken.push(consumer)), 4);
    await wakeUps.signal(['one', 'two', 'one']);
    await vi.waitFor(() => expect(woken.toSorted()).toEqual(['early', 'one', 'two']), eventually);
  });

  it('has one scheduler for each consumer with a schedule: one that changes is replaced, one that ends is taken out', async () => {
    const { module, wakeUps } = await start();
    const server = module.get(QueueServer, { strict: false });
    const kept = async () => {
      const queue = server.openQueue('wake-ups');
      const found = await queue.getJobSchedulers();
      await queue.close();
      return found.map(({ key, every, pattern, tz }) => [key, Number(every) || pattern, tz ?? undefined]).toSorted();
    };
    const daily = { cron: '0 6 * * *', timezone: 'Europe/Berlin' };
    await wakeUps.arrange({ scheduled: [{ consumer: 'a', schedule: { everyMs: 60_000 } }, { consumer: 'b', schedule: daily }], unscheduled: [] }); // prettier-ignore
    expect(await kept()).toEqual([['a', 60_000, undefined], ['b', daily.cron, daily.timezone]]); // prettier-ignore
    await wakeUps.arrange({ scheduled: [{ consumer: 'a', schedule: { everyMs: 5_000 } }], unscheduled: ['b'] });
    expect(await kept()).toEqual([['a', 5_000, undefined]]);
    await wakeUps.arrange({ scheduled: [{ consumer: 'a', schedule: daily }], unscheduled: ['b'] });
    expect(await kept()).toEqual([['a', daily.cron, daily.timezone]]);
    await wakeUps.arrange({ scheduled: [], unscheduled: ['a', 'b'] });
    expect(await kept()).toEqual([]);
  });

  it('wakes a consumer at the slots of its schedule, and says of which schedule', async () => {
    const { wakeUps } = await start();
    const woken: unknown[] = [];
    await wakeUps.listen((wakeUp) => Promise.resolve(void woken.push(wakeUp)), 1);
    await wakeUps.arrange({ scheduled: [{ consumer: 'often', schedule: { everyMs: 1_000 } }], unscheduled: [] });
    await vi.waitFor(() => expect(woken.length).toBeGreaterThan(1), eventually);
    expect(woken[0]).toEqual({ consumer: 'often', forced: false, schedule: 'every 1000 ms' });
  });

  it('delivers a forced wake-up beside one that is not', async () => {
    const { wakeUps } = await start();
    await wakeUps.signal(['one']);
    await wakeUps.signal(['one'], true);
    const woken: boolean[] = [];
    await wakeUps.listen(({ forced }) => Promise.resolve(void woken.push(forced)), 1);
    await vi.waitFor(() => expect(woken.toSorted()).toEqual([false, true]), eventually);
  });

  it('runs a consumer once more for signals that come while it runs, however many', async () => {
    const { wakeUps } = await start();
    let runs = 0;
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await wakeUps.listen(async () => {
      runs += 1;
      if (runs === 1) await held;
    }, 4);

    await wakeUps.signal(['busy']);
    await vi.waitFor(() => expect(runs).toBe(1), eventually);
    for (let i = 0; i < 50; i += 1) await wakeUps.signal(['busy']);
    expect(runs).toBe(1);
    release();
    await vi.waitFor(() => expect(runs).toBe(2), eventually);

    await wakeUps.signal(['busy', 'other']);
    await vi.waitFor(() => expect(runs).toBe(4), eventually);
  });

  it('loses no signal: what was written before it is seen by a run that begins after it', async () => {
    const { wakeUps } = await start();
    let written = 0;
    let seen = 0;
    await wakeUps.listen(async () => {
      const before = written;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      seen = Math.max(seen, before);
    }, 2);
    for (let i = 0; i < 100; i += 1) {
      written += 1;
      await wakeUps.signal(['reader']);
    }
    await vi.waitFor(() => expect(seen).toBe(100), eventually);
  });

  it('carries each job to one worker, and leaves alone a ticket that is there already', async () => {
    const [one, two] = [await start(), await start()];
    const tickets = Array.from({ length: 20 }, () => ticket('mail'));
    await one.jobs.add(tickets);
    await one.jobs.add(tickets);
    const received: JobTicket[] = [];
    const handler = (given: JobTicket) => Promise.resolve(void received.push(given));
    await one.jobs.work('mail', 3, handler);
    await two.jobs.work('mail', 3, handler);
    await two.jobs.work('other', 1, () => Promise.reject(new Error('a job of another queue')));

    await vi.waitFor(() => expect(received).toHaveLength(20), eventually);
    await two.jobs.add([{ ...tickets[0]!, epoch: 1 }]);
    await vi.waitFor(() => expect(received).toHaveLength(21), eventually);
    expect(
      received
        .slice(0, 20)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(tickets.map(({ id }) => id).toSorted());
    expect(received[20]).toEqual({ ...tickets[0]!, epoch: 1 });
  });

  it('takes a ticket again once its run has ended, well or badly', async () => {
    const { jobs } = await start();
    let runs = 0;
    await jobs.work('mail', 1, () => {
      runs += 1;
      return runs === 1 ? Promise.reject(new Error('first run fails')) : Promise.resolve();
    });
    const again = ticket('mail');
    for (const expected of [1, 2, 3]) {
      await vi.waitFor(async () => {
        if (runs < expected) await jobs.add([again]);
        expect(runs).toBe(expected);
      }, eventually);
    }
  });

  it('holds a delayed job back', async () => {
    const { jobs } = await start();
    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await jobs.add([{ ...ticket('mail', 'later'), delayMs: 700 }, ticket('mail', 'now')]);
    await vi.waitFor(() => expect(received).toEqual(['now', 'later']), eventually);
  });

  it('stops by letting running jobs end and taking no more', async () => {
    const { jobs } = await start();
    const began: string[] = [];
    const ended: string[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await jobs.work('mail', 1, async ({ id }) => {
      began.push(id);
      await held;
      ended.push(id);
    });
    await jobs.add([ticket('mail', 'first'), ticket('mail', 'second')]);
    await vi.waitFor(() => expect(began).toHaveLength(1), eventually);

    const stopped = jobs.stop(20_000);
    setTimeout(release, 100);
    await stopped;
    expect(ended).toEqual(began);
    expect(began).toHaveLength(1);

    const next = await start();
    const received: string[] = [];
    await next.jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await vi.waitFor(() => expect(received).toHaveLength(1), eventually);
    expect([...began, ...received].toSorted()).toEqual(['first', 'second']);
  });

  it('stops after drainMs where a job does not end', async () => {
    const { jobs } = await start();
    let began = false;
    await jobs.work('mail', 1, () => {
      began = true;
      return new Promise(() => {});
    });
    await jobs.add([ticket('mail')]);
    await vi.waitFor(() => expect(began).toBe(true), eventually);
    await jobs.stop(50);
  });
});

describe.runIf(redis)('a Redis that is wiped', () => {
  it('forgets its tickets without an error, and takes new ones', async () => {
    const { prefix, cleanUp } = redis!.namespace();
    const module = await Test.createTestingModule({ providers: bullMqJobs({ connection: redis!.url, queuePrefix: prefix }).providers }).compile();
    await module.init();
    const jobs = module.get(JobTransport);
    await jobs.add([ticket('mail', 'wiped')]);
    await cleanUp();

    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));
    await jobs.add([ticket('mail', 'after')]);
    await vi.waitFor(() => expect(received).toEqual(['after']), eventually);
    await cleanUp();
    await jobs.add([ticket('mail', 'later')]);
    await vi.waitFor(() => expect(received).toEqual(['after', 'later']), eventually);

    await module.close();
    await cleanUp();
  });

  it('goes on where only a part was lost: a ticket whose fields are gone while its id still waits', async () => {
    const { prefix, cleanUp } = redis!.namespace();
    const module = await Test.createTestingModule({ providers: bullMqJobs({ connection: redis!.url, queuePrefix: prefix }).providers }).compile();
    await module.init();
    const [jobs, wakeUps] = [module.get(JobTransport), module.get(WakeUpTransport)];
    await jobs.add([ticket('mail', 'torn')]);
    await wakeUps.signal(['torn']);
    const client = new Redis(redis!.url);
    const [mailKeys, wakeUpKeys] = [`{${prefix}}:${prefix}.jobs.mail`, `{${prefix}}:${prefix}.wake-ups`];
    const [wakeUp] = await client.lrange(`${wakeUpKeys}:wait`, 0, -1);
    expect(await client.del(`${mailKeys}:j-torn-0`, `${wakeUpKeys}:${wakeUp}`)).toBe(2);
    const left = async () => (await Promise.all([mailKeys, wakeUpKeys].flatMap((keys) => [client.llen(`${keys}:wait`), client.llen(`${keys}:active`)]))).join();
    expect(await left()).toBe('1,0,1,0');

    const received = new Set<string>();
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.add(`job ${id}`)));
    await wakeUps.listen(({ consumer }) => Promise.resolve(void received.add(`wake-up ${consumer}`)), 1);
    await vi.waitFor(async () => expect(await left()).toBe('0,0,0,0'), eventually);
    await vi.waitFor(async () => {
      if (received.size < 2) await Promise.all([jobs.add([ticket('mail', 'torn')]), wakeUps.signal(['torn'])]);
      expect(received).toEqual(new Set(['job torn', 'wake-up torn']));
    }, eventually);
    client.disconnect();

    await module.close();
    await cleanUp();
  });

  it('holds nothing under names of other applications', async () => {
    const { prefix, cleanUp } = redis!.namespace();
    const module = await Test.createTestingModule({ providers: bullMqJobs({ connection: redis!.url, queuePrefix: prefix }).providers }).compile();
    await module.init();
    await module.get(JobTransport).add([ticket('mail', 'mine')]);
    const url = new URL(redis!.url);
    const theirs = new Queue('mail', { connection: { host: url.hostname, port: Number(url.port) } });
    expect(await theirs.getJob('j-mine-0')).toBeUndefined();
    const mine = new Queue(`${prefix}.jobs.mail`, { connection: { host: url.hostname, port: Number(url.port) }, prefix: `{${prefix}}` });
    expect(await mine.getJob('j-mine-0')).toBeDefined();

    await Promise.all([theirs.close(), mine.close(), module.close()]);
    await cleanUp();
  });
});
