/** What a read with a token answers while the read side cannot come there: no worker runs, or an event is not taken. */
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeServers, redisBackend, sqlServers, type TestDatabase } from '../support/backends.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';

const redis = redisBackend();
const servers = sqlServers().filter(({ name }) => name === 'postgres' || redis);
const user = (id: string, name = id) => ({ id, name, email: `${id}@example.com` });

describeServers('a read with a token on $name', servers, (backend) => {
  let folder: string;
  let database: TestDatabase;
  let env: Record<string, string>;
  let source: DataSource;
  let shop: ShopClient;
  const started: ShopProcess[] = [];
  const namespace = redis?.namespace();

  beforeAll(async () => {
    folder = await newFolder();
    database = await backend.create();
    env = { DATABASE_URL: database.url, ...(namespace && { REDIS_URL: redis!.url, QUEUE_PREFIX: namespace.prefix }) };
    const { code, stderr } = await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit;
    if (code !== 0) throw new Error(stderr);
    source = await new DataSource(database.dataSourceOptions).initialize();
    const { api, origin } = await startApi(folder, { ...env, TANDEM_ROLE: 'api' });
    started.push(api);
    shop = new ShopClient(origin);
  }, 240_000);
  afterAll(async () => {
    await Promise.all(started.map((running) => running.stop()));
    await source?.destroy();
    await namespace?.cleanUp();
    await database?.drop();
    await removeFolder(folder);
  }, 240_000);

  it('is 503 when its wait ran out, and fresh once a worker runs; one whose event is not taken is 503 until that is tried again', async () => {
    const written = await shop.post('/users', user('ann'));
    const early = await shop.get('/users/ann', written.token);
    expect(early).toMatchObject({ status: 503, type: expect.stringContaining('application/problem+json') as string, body: { code: 'TANDEM_CONSISTENCY_TIMEOUT' } });
    expect((await shop.get('/users/ann')).status).toBe(404);

    await source.query("ALTER TABLE shop_user_view ADD CONSTRAINT no_poison CHECK (name <> 'Poison')");
    const worker = new ShopProcess('shop-worker/dist/main.js', folder, { ...env, LOG_LEVEL: 'error' });
    started.push(worker);
    await worker.says(/worker runs on/);
    await expect.poll(async () => (await shop.get('/users/ann', written.token)).status, { timeout: 30_000 }).toBe(200);

    const poisoned = await shop.post('/users', user('bob', 'Poison'));
    expect(await shop.get('/users/bob', poisoned.token)).toMatchObject({ status: 503, body: { code: 'TANDEM_CONSISTENCY_HELD' } });
    expect((await shop.get('/users/ann', (await shop.post('/users', user('carl'))).token)).status).toBe(200);

    await source.query(`ALTER TABLE shop_user_view DROP CONSTRAINT no_poison`);
    expect(await shop.post('/ops/dead-letters/retry', { consumer: 'users.user-view' })).toMatchObject({ status: 200 });
    await expect.poll(async () => (await shop.get('/users/bob', poisoned.token)).body, { timeout: 30_000 }).toMatchObject({ name: 'Poison' });
  }, 240_000);
});
