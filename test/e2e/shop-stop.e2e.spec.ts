/** How processes of the shop end: what is under way is answered or handed back, and a second signal does not wait for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type QueryRunner } from 'typeorm';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeServers, redisBackend, sqlServers } from '../support/backends.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';
import { openShopServer, type ShopServer } from './shop-server.js';

const WITHIN = 180_000;
/** Signals that come closer together are taken for one. */
const ANOTHER_WISH_MS = 1_200;
const ada = { id: 'ada', name: 'Ada', email: 'ada@example.com' };
const servers = redisBackend() ? sqlServers().filter(({ name }) => name === 'mariadb') : [];

describeServers('a process of the shop on $name', servers, () => {
  let folder: string;
  let server: ShopServer;
  let source: DataSource;
  let lock: QueryRunner;
  const started: ShopProcess[] = [];

  beforeEach(async () => {
    folder = await newFolder();
    server = await openShopServer('mariadb', true, folder);
    source = await new DataSource(server.database.dataSourceOptions).initialize();
    lock = source.createQueryRunner();
  }, WITHIN);
  afterEach(async () => {
    await lock.query('UNLOCK TABLES');
    await lock.release();
    for (const shop of started.splice(0)) shop.signal('SIGKILL');
    await source.destroy();
    await server.drop();
    await removeFolder(folder);
  }, WITHIN);

  const api = async () => {
    const running = await startApi(folder, { ...server.env, TANDEM_ROLE: 'api' });
    started.push(running.api);
    return { shop: running.api, client: new ShopClient(running.origin) };
  };
  const worker = async () => {
    const shop = new ShopProcess('shop-worker/dist/main.js', folder, { ...server.env, LOG_LEVEL: 'warn' });
    started.push(shop);
    await shop.says(/worker runs on/);
    return shop;
  };
  /** Somebody waits for a table that the test has locked. */
  const isStuck = () =>
    expect
      .poll(async () => (await source.query<unknown[]>(`SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table%'`)).length, {
        timeout: 60_000,
      })
      .toBeGreaterThan(0);

  it(
    'answers the request that is under way, and then exits with 0',
    async () => {
      const { shop, client } = await api();
      await lock.query('LOCK TABLES tandem_event WRITE');
      const answer = client.post('/users', ada);
      await isStuck();
      shop.signal('SIGTERM');
      await sleep(500);
      await lock.query('UNLOCK TABLES');
      expect((await answer).status).toBe(201);
      const { code, stderr } = await shop.exit;
      expect(stderr).toContain('shop-api: SIGTERM, finishing what runs');
      expect(code).toBe(0);
    },
    WITHIN,
  );

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)(
    'an API that gets %s a second time exits at once, with %i',
    async (signal, expected) => {
      const { shop, client } = await api();
      await lock.query('LOCK TABLES tandem_event WRITE');
      const answer = client.post('/users', ada).catch(() => undefined);
      await isStuck();
      shop.signal(signal);
      await sleep(ANOTHER_WISH_MS);
      shop.signal(signal);
      expect((await shop.exit).code).toBe(expected);
      await answer;
    },
    WITHIN,
  );

  it(
    'a worker finishes the batch and the job that it is at, and exits with 0',
    async () => {
      const { client } = await api();
      await client.post('/users', ada);
      await lock.query('LOCK TABLES shop_user_view WRITE');
      const shop = await worker();
      await isStuck();
      shop.signal('SIGTERM');
      await sleep(500);
      await lock.query('UNLOCK TABLES');
      expect((await shop.exit).code).toBe(0);
      expect(await source.query('SELECT id FROM shop_user_view')).toEqual([{ id: 'ada' }]);
    },
    WITHIN,
  );

  it(
    'a worker whose batch does not end gives it back in time and exits with 0; another one does it',
    async () => {
      const { client } = await api();
      await client.post('/users', ada);
      await lock.query('LOCK TABLES shop_user_view WRITE');
      const shop = await worker();
      await isStuck();
      shop.signal('SIGTERM');
      expect((await shop.exit).code).toBe(0);
      await lock.query('UNLOCK TABLES');
      await worker();
      await expect.poll(() => source.query('SELECT id FROM shop_user_view'), { timeout: 60_000 }).toEqual([{ id: 'ada' }]);
    },
    WITHIN,
  );

  it(
    'a worker that gets a second signal exits at once, with 143; another one does what it was at',
    async () => {
      const { client } = await api();
      await client.post('/users', ada);
      await lock.query('LOCK TABLES shop_user_view WRITE');
      const shop = await worker();
      await isStuck();
      shop.signal('SIGTERM');
      await sleep(ANOTHER_WISH_MS);
      shop.signal('SIGTERM');
      expect((await shop.exit).code).toBe(143);
      await lock.query('UNLOCK TABLES');
      await worker();
      await expect.poll(() => source.query('SELECT id FROM shop_user_view'), { timeout: 60_000 }).toEqual([{ id: 'ada' }]);
    },
    WITHIN,
  );
});
