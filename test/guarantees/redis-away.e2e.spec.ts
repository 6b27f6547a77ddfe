/** Whatever becomes of Redis: commands and projections go on as if nothing had happened, and the jobs follow when it is back. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CutOff } from '../e2e/cut-off.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { BankTraffic, patient } from '../support/bank-traffic.js';
import { OwnRedis } from '../support/own-redis.js';

interface Stage {
  readonly redis: OwnRedis;
  readonly way: CutOff;
  /** Where it dumps what it has. */
  readonly folder: string;
  ask<T>(question: (client: Redis) => Promise<T>): Promise<T>;
}

interface Mishap {
  readonly what: string;
  readonly before?: (stage: Stage) => Promise<unknown>;
  readonly begin: (stage: Stage) => unknown;
  readonly end?: (stage: Stage) => unknown;
}

const START = (folder: string) => ['--dir', folder, '--maxmemory-policy', 'noeviction'];
const dumpOf = (folder: string, name: string): string => join(folder, name);

async function forget({ ask }: Stage, endings: readonly string[]): Promise<void> {
  await ask(async (client) => {
    const keys = (await client.keys('*')).filter((key) => endings.some((ending) => key.endsWith(ending)));
    if (keys.length > 0) await client.del(...keys);
  });
}

const MISHAPS: readonly Mishap[] = [
  { what: 'wiped', begin: ({ ask }) => ask((client) => client.flushall()) },
  { what: 'killed and started again with nothing', begin: ({ redis }) => redis.kill(), end: ({ redis, folder }) => redis.start(...START(folder)) },
  { what: 'stopped, so that it answers nothing', begin: ({ redis }) => redis.pause(), end: ({ redis }) => redis.resume() },
  { what: 'behind a way that swallows everything', begin: ({ way }) => way.silence(), end: ({ way }) => way.mend() },
  {
    what: 'out of memory',
    begin: ({ ask }) => ask((client) => client.config('SET', 'maxmemory', '1mb')),
    end: ({ ask }) => ask((client) => client.config('SET', 'maxmemory', '0')),
  },
  {
    what: 'failed over to an older copy of itself',
    before: async ({ ask, folder }) => {
      await ask((client) => client.save());
      await cp(dumpOf(folder, 'dump.rdb'), dumpOf(folder, 'older.rdb'));
    },
    begin: ({ redis }) => redis.kill(),
    end: ({ redis, folder }) => redis.start(...START(folder), '--dbfilename', 'older.rdb'),
  },
  {
    what: 'forgetful of what waits',
    begin: (stage) => forget(stage, [':wait', ':delayed', ':prioritized', ':marker']),
  },
  { what: 'forgetful of what runs', begin: (stage) => forget(stage, [':active', ':meta', ':id']) },
];

const stages = OwnRedis.available ? sqlServers().slice(0, 1) : [];

describeServers('a Redis beside $name that is', stages, (backend) => {
  let folder: string;
  let stage: Stage;
  let place: BankPlace;
  let bank: Bank;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-redis-'));
    const redis = await OwnRedis.planned();
    await redis.start(...START(folder));
    const { way, url } = await CutOff.on(redis.url);
    const ask = async <T>(question: (client: Redis) => Promise<T>): Promise<T> => {
      const client = new Redis(redis.url);
      try {
        return await question(client);
      } finally {
        client.disconnect();
      }
    };
    stage = { redis, way, folder, ask };
    place = { ...(await bankPlace(backend)), redisUrl: url };
    bank = await startBank(place, { reconcileEveryMs: 50, jobLeaseMs: 3_000 });
  });
  afterEach(async () => {
    stage.redis.resume();
    stage.way.mend();
    await bank.app.close();
    stage.way.close();
    await stage.redis.kill();
    await place.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const read = async () => Number((await bank.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_account_view'))[0]!.n);

  it.each(MISHAPS)('$what', async ({ before, begin, end }) => {
    const traffic = new BankTraffic(bank, 4);
    await traffic.goesOn();
    await before?.(stage);
    await traffic.goesOn();
    await begin(stage);
    await traffic.goesOn(60);
    // Of those that came while it is away, too.
    const { size } = traffic.acknowledged;
    await expect.poll(read, patient).toBeGreaterThanOrEqual(size);
    await end?.(stage);
    await traffic.goesOn();
    await traffic.isWhole();
    expect(traffic.failed).toBe(0);
  });
});
