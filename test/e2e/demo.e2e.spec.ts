import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redisBackend, sqlBackends } from '../support/backends.js';
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

  const mariadb = sqlBackends().find(({ name }) => name === 'mariadb');
  const redis = redisBackend();
  describe.runIf(mariadb && redis)('on MariaDB and Redis', () => {
    it(
      'comes out even',
      async () => {
        const database = await mariadb!.create();
        const env = { DATABASE_URL: database.url, REDIS_URL: redis!.url };
        expect((await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit).code).toBe(0);
        const exit = await play(env);
        await database.drop();
        agrees(exit);
      },
      WITHIN,
    );

    it.runIf(OwnRedis.available)(
      'says in one line why it cannot start, and leaves no process behind',
      async () => {
        const [database, evicting] = [await mariadb!.create(), await OwnRedis.planned()];
        await evicting.start('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
        const env = { DATABASE_URL: database.url, REDIS_URL: evicting.url };
        expect((await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit).code).toBe(0);
        const { code, stdout, stderr } = await play(env);
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
