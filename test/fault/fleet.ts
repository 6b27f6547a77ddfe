/** The servers and processes of a run, with a proxy between each process and each server. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection, type Connection } from 'mysql2/promise';
import { Redis } from 'ioredis';
import { Dice } from '../support/dice.js';
import { type MysqlName, OwnMysql } from '../support/own-mysql.js';
import { OwnRedis } from '../support/own-redis.js';
import { freePort } from '../support/own-server.js';
import { AppProcess } from './app-process.js';
import { Site } from './application/site.js';
import type { Bundle } from './bundle.js';
import type { Skew } from './clock-skew.js';
import type { Role } from './failpoints.js';
import { FaultProxy } from './fault-proxy.js';
import { ACCOUNTS, accountId } from './load.js';
import { MailServer } from './mail-server.js';
import type { MutantName } from './mutants.js';
import { Place } from './place.js';

export const DATABASE = 'fault';
const NAMES: readonly (readonly [name: string, role: Role])[] = [
  ['api-1', 'api'],
  ['api-2', 'api'],
  ['worker-1', 'worker'],
  ['worker-2', 'worker'],
  ['worker-3', 'worker'],
];
/** Of a hundred starts: clocks an hour ahead, and as many an hour behind. */
const SKEWED = 10;
/** Durable at COMMIT, as in production. */
const SERVER = ['--innodb-flush-log-at-trx-commit=1', '--max-connections=400'];
const REDIS = ['--maxmemory-policy', 'noeviction'];

export interface FleetOptions {
  readonly bundle: Bundle;
  readonly folder: string;
  readonly seed: number;
  readonly mutant?: MutantName;
  readonly server: MysqlName;
}

export class Fleet {
  private constructor(
    readonly database: OwnMysql,
    readonly redis: OwnRedis,
    readonly mail: MailServer,
    readonly places: readonly Place[],
  ) {}

  static async start({ bundle, folder, mutant, seed, server }: FleetOptions): Promise<Fleet> {
    const database = await OwnMysql.create(server, ...SERVER);
    const redis = await OwnRedis.planned();
    const mail = await MailServer.start();
    try {
      await redis.start(...REDIS);
      await onServer(database, (connection) => connection.query(`CREATE DATABASE ${DATABASE}`));
      const dice = new Dice(seed);
      const skew = (): Skew => (dice.percent(SKEWED) ? '+1h' : dice.percent(SKEWED) ? '-1h' : undefined);
      const common = { databaseUrl: `${database.url}/${DATABASE}`, redisUrl: redis.url, mailUrl: mail.url, mutant };
      await migrate({ main: bundle.main, site: new Site({ ...common, name: 'migration', role: 'api', port: await freePort() }), logFile: join(folder, 'migration.log') });
      await onServer(database, (connection) =>
        connection.query(`INSERT INTO ${DATABASE}.fault_account (id) VALUES ?`, [Array.from({ length: ACCOUNTS }, (_, i) => [accountId(i)])]),
      );
      const places: Place[] = [];
      for (const [name, role] of NAMES) {
        const [toDatabase, toRedis] = [await FaultProxy.to(database.port), await FaultProxy.to(redis.port)];
        const urls = { databaseUrl: `mysql://root@127.0.0.1:${toDatabase.port}/${DATABASE}`, redisUrl: `redis://127.0.0.1:${toRedis.port}` };
        const site = new Site({ ...common, ...urls, name, role, port: await freePort() });
        places.push(new Place({ main: bundle.main, site, logFile: join(folder, `${name}.log`), toDatabase, toRedis, skew }));
      }
      const fleet = new Fleet(database, redis, mail, places);
      await fleet.serves();
      return fleet;
    } catch (error) {
      await Promise.all([database.remove(), redis.kill(), mail.stop()]);
      throw error;
    }
  }

  get ports(): readonly number[] {
    return this.places.filter(({ role }) => role === 'api').map(({ plan }) => plan.site.port);
  }

  serves(): Promise<unknown> {
    return Promise.all(this.places.map((place) => place.serves()));
  }

  /** A place to which nothing happens right now. */
  free(role: Role, dice: Dice): Place | undefined {
    const free = this.places.filter((place) => place.role === role && !place.busy && place.current.isReady && place.current.isAlive);
    return free.length > 0 ? dice.pick(free) : undefined;
  }

  /** Straight to the database, past the proxies. */
  sql<T>(text: string, params: readonly unknown[] = []): Promise<T[]> {
    return onServer(this.database, async (connection) => {
      await connection.query(`USE ${DATABASE}`);
      const [rows] = await connection.query(text, [...params] as string[]);
      return rows as T[];
    });
  }

  async onRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(this.redis.url);
    client.on('error', () => undefined); // the command rejects with it
    try {
      return await work(client);
    } finally {
      client.disconnect();
    }
  }

  async restartDatabase(awayMs: number): Promise<void> {
    await this.database.kill();
    await sleep(awayMs);
    await this.database.start(...SERVER);
  }

  async restartRedis(awayMs: number): Promise<void> {
    await this.redis.kill();
    await sleep(awayMs);
    await this.redis.start(...REDIS);
  }

  /** Nothing is in anybody's way any more. */
  heal(): void {
    for (const { current, plan } of this.places) {
      current.disarm();
      current.signal('SIGCONT');
      plan.toDatabase.heal();
      plan.toRedis.heal();
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.places.map((place) => place.destroy()));
    await Promise.all(this.places.flatMap(({ plan }) => [plan.toDatabase.close(), plan.toRedis.close()]));
    await Promise.all([this.database.remove(), this.redis.kill(), this.mail.stop()]);
  }
}

async function migrate(plan: ConstructorParameters<typeof AppProcess>[0]): Promise<void> {
  const first = new AppProcess({ ...plan, migrate: true });
  if (!(await first.ready)) throw new Error(`The application does not start: see ${plan.logFile}`);
  first.signal('SIGTERM');
  await first.ended;
}

async function onServer<T>(database: OwnMysql, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({ uri: database.url, supportBigNumbers: true });
  try {
    return await work(connection);
  } finally {
    connection.destroy();
  }
}
