/** Where the import is tried: its process, its workers and its database are the stage's own, so that each can be killed or asked. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { DataSource } from 'typeorm';
import { redisBackend, sqlBackends } from '../support/backends.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';
import { openShopServer } from './shop-server.js';

const SETTLE_WITHIN_MS = 240_000;
const LOOK_EVERY_MS = 100;

type Env = Readonly<Record<string, string>>;

export interface ImportPlan {
  readonly name: string;
  open(): Promise<ImportStage>;
}

interface ServerDatabase {
  readonly env: Env;
  readonly source: DataSource;
  /** Removes what the queues of this stage hold. */
  readonly wipeQueues?: () => Promise<void>;
  drop(): Promise<void>;
}

export class ImportStage {
  private readonly started: ShopProcess[] = [];
  private workers: ShopProcess[] = [];

  constructor(
    readonly folder: string,
    /** None: the embedded default. */
    private readonly server?: ServerDatabase,
  ) {}

  get hasWorkers(): boolean {
    return this.server !== undefined;
  }

  get wipeQueues(): (() => Promise<void>) | undefined {
    return this.server?.wipeQueues;
  }

  import(...args: string[]): ShopProcess {
    return this.start(new ShopProcess('shop-api/dist/import.js', this.folder, this.server?.env, { args }));
  }

  async startWorkers(count: number): Promise<void> {
    this.workers = Array.from({ length: count }, () => this.newWorker());
    await this.workersRun();
  }

  async workersRun(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.says(/worker runs on/)));
  }

  /** Kills one and starts another in its place; `workersRun` waits for that one. */
  async killWorker(index: number): Promise<void> {
    const place = index % this.workers.length;
    const killed = this.workers[place]!;
    killed.signal('SIGKILL');
    await killed.exit;
    this.workers[place] = this.newWorker();
  }

  /** Resolves when every consumer has read everything and every job is done. @throws with the state when that does not come */
  async settled(): Promise<void> {
    const { api, origin } = await startApi(this.folder, { ...this.server?.env, ...(this.server && { TANDEM_ROLE: 'api' }) });
    this.start(api);
    const deadline = Date.now() + SETTLE_WITHIN_MS;
    // Twice in a row: one look is several statements, and a batch may commit between them.
    for (let calm = 0; calm < 2;) {
      const { body } = await new ShopClient(origin).get('/ops/status');
      const { consumers, jobs, parkedJobs, deadLetters } = body as { consumers: { lag: number }[]; jobs: { state: string }[]; parkedJobs: unknown[]; deadLetters: unknown[] };
      if (parkedJobs.length + deadLetters.length > 0 || Date.now() > deadline) throw new Error(`It does not settle: ${JSON.stringify(body)}`);
      calm = consumers.every(({ lag }) => lag === 0) && jobs.every(({ state }) => state === 'done') ? calm + 1 : 0;
      await sleep(LOOK_EVERY_MS);
    }
    await api.stop();
  }

  /** Runs the queries one after the other. On the embedded default no process may use the folder then. */
  async rows(...queries: readonly string[]): Promise<Record<string, unknown>[][]> {
    if (this.server) return all(queries, (text) => this.server!.source.query<Record<string, unknown>[]>(text));
    const db = await PGlite.create({ dataDir: join(this.folder, '.data/postgres') });
    try {
      return await all(queries, async (text) => (await db.query<Record<string, unknown>>(text)).rows);
    } finally {
      await db.close();
    }
  }

  async mails(): Promise<string[]> {
    const files = await readdir(join(this.folder, '.data/outbox')).catch(() => []); // made with the first mail
    return files.filter((file) => file.endsWith('.eml'));
  }

  /** The order of every mail; one that has two mails comes twice. */
  async mailedOrders(): Promise<string[]> {
    const texts = await Promise.all((await this.mails()).map((file) => readFile(join(this.folder, '.data/outbox', file), 'utf8')));
    return texts.map((text) => /^Subject: Your order (\S+)\r?$/m.exec(text)?.[1] ?? `no subject in ${text}`);
  }

  async end(): Promise<void> {
    await Promise.all(this.started.map((shop) => shop.stop()));
    await this.server?.drop();
    await removeFolder(this.folder);
  }

  private newWorker(): ShopProcess {
    return this.start(new ShopProcess('shop-worker/dist/main.js', this.folder, { ...this.server?.env, LOG_LEVEL: 'warn' }));
  }

  private start(shop: ShopProcess): ShopProcess {
    this.started.push(shop);
    return shop;
  }
}

async function all<T>(queries: readonly string[], ask: (text: string) => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  for (const text of queries) answers.push(await ask(text));
  return answers;
}

async function openOn(name: 'mariadb' | 'postgres', withRedis: boolean, workers: number): Promise<ImportStage> {
  const folder = await newFolder();
  const { database, env, wipeQueues, drop } = await openShopServer(name, withRedis, folder);
  const source = await new DataSource(database.dataSourceOptions).initialize();
  const closeAndDrop = async () => {
    await source.destroy();
    await drop();
  };
  const stage = new ImportStage(folder, { env, source, wipeQueues, drop: closeAndDrop });
  await stage.startWorkers(workers);
  return stage;
}

export function importStages(): ImportPlan[] {
  const has = (name: string) => sqlBackends().some((backend) => backend.name === name);
  return [
    { name: 'the embedded default', open: async () => new ImportStage(await newFolder()) },
    ...(has('mariadb') && redisBackend() ? [{ name: 'MariaDB and Redis with two workers', open: () => openOn('mariadb', true, 2) }] : []),
    ...(has('postgres') ? [{ name: 'PostgreSQL alone with one worker', open: () => openOn('postgres', false, 1) }] : []),
  ];
}
