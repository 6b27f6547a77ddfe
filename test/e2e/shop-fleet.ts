/** The shop as an API and two workers on MariaDB, with a Redis of its own: each can be killed or stopped, and comes back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import type { TestDatabase } from '../support/backends.js';
import { OwnRedis } from '../support/own-redis.js';
import { ShopClient } from './shop-client.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';
import { openShopDatabase } from './shop-server.js';

type Env = Readonly<Record<string, string>>;

const SETTLE_WITHIN_MS = 300_000;
const LOOK_EVERY_MS = 200;

/** One process of the fleet; after a kill another one, started in the same way. */
class Place {
  private constructor(
    private current: ShopProcess,
    private readonly start: () => ShopProcess,
    private readonly greeting: RegExp,
  ) {}

  static of(start: () => ShopProcess, greeting: RegExp): Place {
    return new Place(start(), start, greeting);
  }

  /** Resolves when its process serves. */
  async runs(): Promise<void> {
    await this.current.says(this.greeting);
  }

  /** kill -9. Another one is started, and not waited for. */
  async kill(): Promise<void> {
    await this.runs();
    this.current.signal('SIGKILL');
    await this.current.exit;
    this.current = this.start();
  }

  async pause(ms: number): Promise<void> {
    await this.runs();
    this.current.signal('SIGSTOP');
    await sleep(ms);
    this.current.signal('SIGCONT');
  }

  async stop(): Promise<void> {
    this.current.signal('SIGCONT');
    await this.current.stop();
  }
}

export class ShopFleet {
  private constructor(
    private readonly folder: string,
    private readonly redis: OwnRedis,
    private readonly database: TestDatabase,
    readonly source: DataSource,
    /** Of the API, whichever process it is. */
    readonly origin: string,
    readonly places: Readonly<Record<'API' | 'worker 1' | 'worker 2', Place>>,
  ) {}

  static async open(): Promise<ShopFleet> {
    const folder = await newFolder();
    const redis = await OwnRedis.planned();
    await redis.start('--maxmemory-policy', 'noeviction');
    const { database, env } = await openShopDatabase('mariadb', folder, { REDIS_URL: redis.url, QUEUE_PREFIX: 'shop' });
    const source = await new DataSource(database.dataSourceOptions).initialize();
    const first = await startApi(folder, { ...env, TANDEM_ROLE: 'api' });
    await first.api.stop();
    const api = Place.of(() => new ShopProcess('shop-api/dist/main.js', folder, apiEnv(env, first.origin)), /ops\/report.*\n\n/);
    const worker = () => Place.of(() => new ShopProcess('shop-worker/dist/main.js', folder, { ...env, LOG_LEVEL: 'warn' }), /worker runs on/);
    const fleet = new ShopFleet(folder, redis, database, source, first.origin, { API: api, 'worker 1': worker(), 'worker 2': worker() });
    await fleet.runs();
    return fleet;
  }

  async runs(): Promise<void> {
    await Promise.all(Object.values(this.places).map((place) => place.runs()));
  }

  /** Every key of Redis goes, in one step. */
  async wipeRedis(): Promise<void> {
    const client = new Redis(this.redis.url);
    try {
      await client.flushall();
    } finally {
      client.disconnect();
    }
  }

  /** Resolves when every consumer has read everything and every job is done. @throws with the state when something is parked, or that does not come */
  async settled(): Promise<void> {
    await this.runs();
    const deadline = Date.now() + SETTLE_WITHIN_MS;
    // Twice in a row: one look is several statements, and a batch may commit between them.
    for (let calm = 0; calm < 2;) {
      const { body } = await new ShopClient(this.origin).get('/ops/status');
      const { consumers, jobs, parkedJobs, deadLetters } = body as { consumers: { lag: number }[]; jobs: { state: string }[]; parkedJobs: unknown[]; deadLetters: unknown[] };
      if (parkedJobs.length > 0 || Date.now() > deadline) throw new Error(`It does not settle: ${JSON.stringify(body)}`);
      const isCalm = consumers.every(({ lag }) => lag === 0) && jobs.every(({ state }) => state === 'done') && deadLetters.length === 0;
      calm = isCalm ? calm + 1 : 0;
      await sleep(LOOK_EVERY_MS);
    }
  }

  get outbox(): string {
    return `${this.folder}/.data/outbox`;
  }

  async end(): Promise<void> {
    await Promise.all(Object.values(this.places).map((place) => place.stop()));
    await this.redis.kill();
    await this.source.destroy();
    await this.database.drop();
    await removeFolder(this.folder);
  }
}

/** On the port where the first one was. */
const apiEnv = (env: Env, origin: string): Env => ({ ...env, TANDEM_ROLE: 'api', PORT: new URL(origin).port, LOG_LEVEL: 'warn' });
