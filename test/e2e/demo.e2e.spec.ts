import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redisBackend, sqlBackends } from '../support/backends.js';
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
  });
});
