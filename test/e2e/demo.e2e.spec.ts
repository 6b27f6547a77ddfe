import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeServers, redisBackend, sqlServers, type TestDatabase } from '../support/backends.js';
import { OwnRedis } from '../support/own-redis.js';
import { newFolder, removeFolder, ShopProcess } from './shop-process.js';

const ORDERS = 120;
const WITHIN = 180_000;

describe('npm run demo', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await newFolder();
  });
  afterEach(() => removeFolder(folder));

  const play = (env: Record<string, string> = {}) => new ShopProcess('shop-api/dist/demo.js', folder, env, { args: ['--orders', String(ORDERS)] }).exit;

  function agrees({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }): void {
    expect(stderr.replace(/^First start.*\n/, '')).toBe('');
    expect(code).toBe(0);
    expect(stdout.match(/kill -9 \d+ \(\d of 3\)/g)).toHaveLength(3);
    expect(stdout).toMatch(/the queue was wiped: \d+ entries/);
    const total = /commands acknowledged +120 +(\S+)/.exec(stdout)?.[1];
    expect(Number(total)).toBeGreaterThan(0);
    for (const side of ['OrderView', 'CountrySales', 'events on the log']) expect(stdout).toMatch(new RegExp(`${side}\\)? +120 +${total}\\n`));
    expect(stdout).toMatch(/120 different mails for 120 orders; \d+ sent a second time/);
  }

  it('comes out even on the embedded default', async () => agrees(await play()), WITHIN);

  it(
    'leaves no process and no folder behind when it is interrupted',
    async () => {
      const demo = new ShopProcess('shop-api/dist/demo.js', folder);
      await demo.says(/begin with/);
      await expect.poll(() => processesOf(demo.stdout), { timeout: 60_000 }).toHaveLength(1);
      demo.signal('SIGINT');
      const { code, stderr } = await demo.exit;
      expect([code, stderr.replace(/^First start.*\n/, '')]).toEqual([1, 'demo: stopped; nothing of it stays behind.\n']);
      expect(await processesOf(demo.stdout)).toEqual([]);
      expect(await readdir(join(folder, '.data'))).toEqual([]);
    },
    WITHIN,
  );

  const redis = redisBackend();
  const mariadb = sqlServers().find(({ name }) => name === 'mariadb');
  describeServers('on $name, with Redis', redis ? sqlServers() : [], (backend) => {
    let database: TestDatabase;
    beforeEach(async () => {
      database = await backend.create();
    });
    afterEach(() => database.drop());
    const env = () => ({ DATABASE_URL: database.url, REDIS_URL: redis!.url });

    it(
      'comes out even beside a database that is not migrated, and leaves nothing behind',
      async () => {
        const exit = await play(env());
        agrees(exit);
        expect(await leftBehind(database, exit.stdout)).toEqual([]);
      },
      WITHIN,
    );

    it(
      'leaves nothing behind when it is interrupted',
      async () => {
        const demo = new ShopProcess('shop-api/dist/demo.js', folder, env());
        await demo.says(/written .* read [1-9]/);
        expect(await leftBehind(database, demo.stdout)).not.toEqual([]);
        demo.signal('SIGTERM');
        const { code, stderr } = await demo.exit;
        expect([code, stderr]).toEqual([1, 'demo: stopped; nothing of it stays behind.\n']);
        expect(await leftBehind(database, demo.stdout)).toEqual([]);
      },
      WITHIN,
    );
  });

  describe.runIf(mariadb)('on MariaDB', () => {
    it.runIf(OwnRedis.available)(
      'says in one line why it cannot start, and leaves no process behind',
      async () => {
        const [database, evicting] = [await mariadb!.create(), await OwnRedis.planned()];
        await evicting.start('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
        const { code, stdout, stderr } = await play({ DATABASE_URL: database.url, REDIS_URL: evicting.url });
        await expect.poll(() => processesOf(stdout), { timeout: 10_000 }).toEqual([]);
        await Promise.all([database.drop(), evicting.kill()]);
        expect(stderr).toMatch(/^demo: [^\n]*maxmemory-policy "allkeys-lru"[^\n]*\n$/);
        expect(code).toBe(1);
      },
      WITHIN,
    );
  });
});

const runOf = (stdout: string): string => /ids of its orders begin with (demo-\w+)/.exec(stdout)![1]!;

async function processesOf(stdout: string): Promise<string[]> {
  const { stdout: all } = await promisify(execFile)('ps', ['-eo', 'args']);
  return all.split('\n').filter((line) => line.includes('demo-engine.js') && line.includes(runOf(stdout)));
}

/** Databases and Redis keys that carry the run's name. */
async function leftBehind({ dataSourceOptions }: TestDatabase, stdout: string): Promise<string[]> {
  const run = runOf(stdout);
  const dataSource = await new DataSource(dataSourceOptions).initialize();
  const names = dataSourceOptions.type === 'mysql' ? 'SELECT schema_name AS name FROM information_schema.schemata' : 'SELECT datname AS name FROM pg_database';
  const databases = await dataSource.query<{ name: string }[]>(names);
  await dataSource.destroy();
  const redis = new Redis(redisBackend()!.url);
  const keys = await redis.keys(`*${run}*`);
  redis.disconnect();
  return [...databases.map(({ name }) => name).filter((name) => name.includes(run.replace('-', '_'))), ...keys];
}
