import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeServers, redisBackend, sqlServers, type TestDatabase } from '../support/backends.js';
import { CutOff } from './cut-off.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';

const redis = redisBackend();

const servers = sqlServers().filter(({ name }) => name === 'postgres' || redis);

describeServers('when $name is away', servers, (backend) => {
  let folder: string;
  let database: TestDatabase;
  let way: CutOff;
  let api: ShopProcess;
  let shop: ShopClient;
  const namespace = redis?.namespace();

  beforeAll(async () => {
    folder = await newFolder();
    database = await backend.create();
    const through = await CutOff.on(database.url);
    way = through.way;
    const env = { DATABASE_URL: through.url, ...(namespace && { REDIS_URL: redis!.url, QUEUE_PREFIX: namespace.prefix }) };
    const { code, stderr } = await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit;
    if (code !== 0) throw new Error(stderr);
    const running = await startApi(folder, env);
    api = running.api;
    shop = new ShopClient(running.origin);
  }, 240_000);

  afterAll(async () => {
    await api?.stop();
    way?.close();
    await namespace?.cleanUp();
    await database?.drop();
    await removeFolder(folder);
  }, 240_000);

  it('answers 503 to writes and reads, without a stack trace or an address, and goes on when it is back', async () => {
    const written = await shop.post('/users', { id: 'before', name: 'Before', email: 'before@example.com' });
    expect(written.status).toBe(201);

    way.cut();
    for (const answer of [await shop.post('/users', { id: 'during', name: 'During', email: 'during@example.com' }), await shop.get('/users/before', written.token)]) {
      expect(answer).toMatchObject({ status: 503, type: expect.stringContaining('application/problem+json') as string });
      expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|node_modules|at \w+\./);
    }

    way.mend();
    await expect.poll(async () => (await shop.post('/users', { id: 'after', name: 'After', email: 'after@example.com' })).status, { timeout: 30_000 }).toBeOneOf([201, 409]);
    await expect.poll(async () => (await shop.get('/users/after')).body, { timeout: 30_000 }).toMatchObject({ name: 'After' });
  }, 240_000);
});
