import { Test, type TestingModule } from '@nestjs/testing';
import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { redisBackend, sqlBackends } from '../../../../../test/support/backends.js';
import type { TandemJobs } from '../../kernel/adapter.js';
import { InvalidationChannel } from '../../read/query-cache/invalidation-channel.js';
import { bullMqJobs } from './bullmq-jobs.js';
import { LocalInvalidationChannel } from './local-invalidation-channel.js';

const eventually = { timeout: 20_000, interval: 20 };
const redis = redisBackend();
const postgres = sqlBackends().find(({ name }) => name === 'postgres');

describe('invalidation between processes', () => {
  const cleanUps: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  });

  async function start(jobs: TandemJobs): Promise<{ channel: InvalidationChannel; heard: string[]; lost: () => number; module: TestingModule }> {
    const module = await Test.createTestingModule({ providers: jobs.providers }).compile();
    cleanUps.push(() => module.close());
    await module.init();
    const channel = module.get(InvalidationChannel);
    const heard: string[] = [];
    let lost = 0;
    await channel.subscribe(
      (entities) => void heard.push(...entities),
      () => (lost += 1),
    );
    await vi.waitFor(() => expect(channel.connected).toBe(true), eventually);
    return { channel, heard, lost: () => lost, module };
  }

  async function postgresUrl(): Promise<string> {
    const database = await postgres!.create();
    cleanUps.push(() => database.drop());
    return database.url;
  }

  const places = [
    ...(redis ? [{ name: 'Redis', connection: () => Promise.resolve(redis.url) }] : []),
    ...(postgres ? [{ name: 'PostgreSQL', connection: async () => ({ postgres: await postgresUrl() }) }] : []),
  ];

  it.each(places)('reaches every process, the sender too, over $name', async ({ connection }) => {
    const at = await connection();
    const names = Array.from({ length: 100 }, (_, i) => `EntityOfATableWithARatherLongNameThatGoesOnAndOn${i}`);
    const [one, two] = [await start(bullMqJobs({ connection: at, queuePrefix: 'a' })), await start(bullMqJobs({ connection: at, queuePrefix: 'a' }))];
    const other = await start(bullMqJobs({ connection: at, queuePrefix: 'b' }));
    await one.channel.publish(names);
    await vi.waitFor(() => {
      expect(one.heard.toSorted()).toEqual(names.toSorted());
      expect(two.heard.toSorted()).toEqual(names.toSorted());
    }, eventually);
    await two.channel.publish([names[0]!]);
    await vi.waitFor(() => expect(one.heard).toHaveLength(101), eventually);
    expect(other.heard).toEqual([]);

    await one.channel.stop();
    expect(one.channel.connected).toBe(false);
  });

  it.runIf(postgres)('tells a cache when its PostgreSQL connection was cut, and sends late what it could not send', async () => {
    const url = await postgresUrl();
    const [one, two] = [await start(bullMqJobs({ connection: { postgres: url } })), await start(bullMqJobs({ connection: { postgres: url } }))];
    const before = one.lost();
    const admin = new pg.Client({ connectionString: url });
    await admin.connect();
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');
    await admin.end();
    await two.channel.publish(['Order']);
    await vi.waitFor(() => expect(one.lost()).toBeGreaterThan(before + 1), eventually);
    await vi.waitFor(() => expect(one.channel.connected && two.channel.connected).toBe(true), eventually);
    await two.channel.publish(['Customer']);
    await vi.waitFor(() => expect(one.heard).toContain('Customer'), eventually);
  });

  it('is direct where there is one process only', async () => {
    const channel = new LocalInvalidationChannel();
    const heard: string[] = [];
    await channel.subscribe((entities) => void heard.push(...entities));
    await channel.publish(['Order']);
    expect(heard).toEqual(['Order']);
    expect(channel.connected).toBe(true);
  });
});
