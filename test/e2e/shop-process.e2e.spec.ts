import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../support/backends.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';

const START = 120_000;
let folder: string;
const started: ShopProcess[] = [];
const stopAll = () => Promise.all(started.splice(0).map((shop) => shop.stop()));

const api = async (env: Record<string, string> = {}) => {
  const running = await startApi(folder, env);
  started.push(running.api);
  return running;
};
/** Different mails in the outbox whose address has this end. */
async function mailsTo(end: string): Promise<number> {
  const outbox = join(folder, '.data/outbox');
  const files = (await readdir(outbox)).filter((file) => file.endsWith('.eml'));
  const texts = await Promise.all(files.map((file) => readFile(join(outbox, file), 'utf8')));
  return texts.filter((text) => new RegExp(`^To: .*${end}>?\\r?$`, 'm').test(text)).length;
}
const attempt = (env: Record<string, string>) => new ShopProcess('shop-api/dist/main.js', folder, env).exit;

describe('npm start on the embedded default', () => {
  // One folder for all of them: building the database takes seconds.
  beforeAll(async () => {
    folder = await newFolder();
  });
  afterEach(stopAll, START);
  afterAll(() => removeFolder(folder));

  it(
    'says what it runs on and where it is, and its three lines work pasted into bash',
    async () => {
      const { api: shop, origin } = await api();
      expect(shop.stdout).toContain('embedded PostgreSQL and BullMQ; set DATABASE_URL and REDIS_URL for MySQL and Redis');
      expect(shop.stdout).toContain(`${origin}/docs`);
      expect(shop.stdout).toContain(`${origin}/ops/report`);
      const lines = shop.stdout.split('\n').filter((text) => text.startsWith('curl '));
      expect(lines).toHaveLength(3);

      const { stdout: together } = await promisify(execFile)('bash', ['-c', lines.join('\n')]);
      expect(together).toMatch(/^HTTP\/1\.1 201 /);
      expect(together).toMatch(/^consistency-token: \S+/im);
      expect(together).toMatch(/HTTP\/1\.1 200 OK[\s\S]*"status":"active"/);
      expect(together).toMatch(/CreateUser +1 +0/);
      expect(together).not.toContain(' 404 ');
    },
    START,
  );

  it(
    'drains on SIGTERM and on SIGINT with exit code 0, and keeps its data',
    async () => {
      const first = await api();
      const created = await new ShopClient(first.origin).post('/users', { id: 'kept', name: 'Kept', email: 'kept@example.com' });
      expect(created.status).toBe(201);
      expect((await first.api.stop()).code).toBe(0);

      const second = await api();
      expect(await new ShopClient(second.origin).get('/users/kept', created.token)).toMatchObject({ status: 200, body: { name: 'Kept' } });
      await expect.poll(() => mailsTo('kept@example.com'), { timeout: 30_000 }).toBe(1);
      second.api.signal('SIGINT');
      expect((await second.api.exit).code).toBe(0);
    },
    START,
  );

  it(
    'has every acknowledged write after kill -9, and works off what was left',
    async () => {
      const first = await api();
      const before = Number((await new ShopClient(first.origin).get('/users/count')).body.count);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => new ShopClient(first.origin).post('/users', { id: `u${n}`, name: `U ${n}`, email: `u${n}@crash.example` })),
      );
      expect(answers.every(({ status }) => status === 201)).toBe(true);
      first.api.signal('SIGKILL');
      await first.api.exit;

      const second = await api();
      await expect.poll(async () => (await new ShopClient(second.origin).get('/users/count')).body, { timeout: 60_000 }).toEqual({ count: before + 20 });
      await expect.poll(() => mailsTo('crash.example'), { timeout: 60_000 }).toBe(20);
    },
    START,
  );

  it(
    'says in one line that the data folder is in use',
    async () => {
      await api();
      const { code, stderr, stdout } = await attempt({ PORT: '0' });
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/^shop-api: [^\n]*\.data[^\n]*\n$/);
      expect(stderr).toContain('Stop the other process');
    },
    START,
  );

  it(
    'asks for OPS_TOKEN on /ops where it is set, and does not print it',
    async () => {
      const token = 'a-token-of-some-length';
      const { api: shop, origin } = await api({ OPS_TOKEN: token });
      const client = new ShopClient(origin);
      const ask = (authorization?: string) => client.send('GET', '/ops/status', undefined, authorization ? { authorization } : {});
      expect(await ask()).toMatchObject({ status: 401, type: expect.stringContaining('application/problem+json') as string });
      expect((await ask('Bearer a-token-of-some-lengtH')).status).toBe(401);
      expect((await ask(`Bearer ${token}`)).status).toBe(200);
      expect(shop.stdout + shop.stderr).not.toContain(token);
    },
    START,
  );
});

describe('an API that cannot start says why in one line and exits with 1', () => {
  const oneLine = /^shop-api: [^\n]+\n$/;
  beforeEach(async () => {
    folder = await newFolder();
  });
  afterEach(() => removeFolder(folder));

  it('port taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await attempt({ PORT: String(port) });
    await new Promise((resolve) => other.close(resolve));
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain('port is taken');
    expect(stderr).toContain(String(port));
  });

  it('wrong variables, all of them, from .env too', async () => {
    await writeFile(join(folder, '.env'), 'LOG_LEVEL=loud\nDATABASE_URL=mysql://root:s3cret@/\n');
    const { code, stderr } = await attempt({ PORT: 'http' });
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    for (const name of ['PORT', 'LOG_LEVEL', 'DATABASE_URL']) expect(stderr).toContain(`${name} is wrong, expected`);
    expect(stderr).not.toContain('s3cret');
  });

  it('a data folder that is a file', async () => {
    await writeFile(join(folder, 'data'), 'not a folder');
    const { code, stderr } = await attempt({ PORT: '0', DATA_DIR: 'data' });
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain('data');
  });

  it('an outbox that is a file', async () => {
    await mkdir(join(folder, '.data'));
    await writeFile(join(folder, '.data/outbox'), 'not a folder');
    const { code, stderr } = await attempt({ PORT: '0' });
    expect(code).toBe(1);
    expect(stderr.replace(/^First start.*\n/, '')).toMatch(oneLine);
    expect(stderr).toContain('.data/outbox');
  });

  it('a data folder that this user may not read', async () => {
    const data = join(folder, 'data');
    await mkdir(data);
    await chmod(folder, 0o755);
    await chmod(data, 0o000);
    const nobody = process.getuid?.() === 0 ? 65_534 : undefined; // root may read everything
    const { code, stderr } = await new ShopProcess('shop-api/dist/main.js', folder, { PORT: '0', DATA_DIR: data }, { uid: nobody }).exit;
    await chmod(data, 0o700);
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain('read and write access');
  });

  it('a database that does not answer', async () => {
    const { code, stderr } = await attempt({ PORT: '0', DATABASE_URL: 'mysql://root:s3cret@127.0.0.1:9/shop', REDIS_URL: 'redis://127.0.0.1:9' });
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain('database');
    expect(stderr).not.toContain('s3cret');
  });

  it('a worker on the embedded default', async () => {
    const { code, stderr } = await new ShopProcess('shop-worker/dist/main.js', folder).exit;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^shop-worker: set DATABASE_URL[^\n]+\n$/);
  });

  describe.each(sqlBackends().filter(({ name }) => name !== 'pglite'))('on $name', (backend) => {
    it('a schema that is not there names the command', async () => {
      const database = await backend.create();
      const { code, stderr } = await attempt({ PORT: '0', DATABASE_URL: database.url, REDIS_URL: 'redis://127.0.0.1:6379' });
      await database.drop();
      expect(code).toBe(1);
      expect(stderr).toMatch(oneLine);
      expect(stderr).toContain('npm run migrate');
    });

    it('migrates once, says so, and says where that is not enough', async () => {
      const database = await backend.create();
      const migrate = () => new ShopProcess('shop-api/dist/migrate.js', folder, { DATABASE_URL: database.url, REDIS_URL: 'redis://127.0.0.1:6379' }).exit;
      const [first, second] = [await migrate(), await migrate()];
      const dataSource = await new DataSource(database.dataSourceOptions).initialize();
      await dataSource.query("UPDATE tandem_meta SET value = '0' WHERE name = 'schema_version'");
      await dataSource.destroy();
      const unfit = await migrate();
      await database.drop();
      expect(unfit).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^migrate: [^\n]*schema version 0[^\n]*\n$/) as string });
      expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('applied ') as string, stderr: '' });
      expect(second).toMatchObject({ code: 0, stdout: 'Nothing to do: the schema is up to date.\n', stderr: '' });
    });
  });
});
