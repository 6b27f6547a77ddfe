import { redisBackend, sqlBackends, type TestDatabase } from '../support/backends.js';
import { ShopProcess } from './shop-process.js';

/** A database of the test's own, migrated by the command, and queues of its own beside it. */
export interface ShopServer {
  readonly database: TestDatabase;
  /** What every process of the shop needs to be told. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the queues are in Redis. */
  readonly wipeQueues?: () => Promise<void>;
  drop(): Promise<void>;
}

type Env = ShopServer['env'];

/** A fresh database, migrated by the command; `env` says where the queues are. */
export async function openShopDatabase(name: 'mariadb' | 'mysql' | 'postgres', folder: string, queues: Env): Promise<Pick<ShopServer, 'database' | 'env'>> {
  const database = await sqlBackends()
    .find((backend) => backend.name === name)!
    .create();
  const env = { DATABASE_URL: database.url, ...queues };
  const migrated = await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit;
  if (migrated.code !== 0) throw new Error(`migrate: ${migrated.stderr}`);
  return { database, env };
}

export async function openShopServer(name: 'mariadb' | 'mysql' | 'postgres', withRedis: boolean, folder: string): Promise<ShopServer> {
  const redis = withRedis ? redisBackend()! : undefined;
  const namespace = redis?.namespace();
  const { database, env } = await openShopDatabase(name, folder, { QUEUE_PREFIX: namespace?.prefix ?? 'shop', ...(redis && { REDIS_URL: redis.url }) });
  const drop = async () => {
    await namespace?.cleanUp();
    await database.drop();
  };
  return { database, env, wipeQueues: namespace && (() => namespace.cleanUp()), drop };
}
