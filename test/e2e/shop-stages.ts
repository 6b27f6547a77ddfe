/** Where the shop runs in e2e tests: embedded always, servers where this machine has them. */
import { redisBackend, sqlBackends } from '../support/backends.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';

export interface Stage {
  readonly origin: string;
  readonly folder: string;
  /** The process that answers at `origin`. */
  readonly api: ShopProcess;
  /** What another process of this stage needs to be told. */
  readonly env: Readonly<Record<string, string>>;
  end(): Promise<void>;
}

export interface StagePlan {
  readonly name: string;
  open(): Promise<Stage>;
}

async function openEmbedded(): Promise<Stage> {
  const folder = await newFolder();
  const { api, origin } = await startApi(folder);
  const end = async () => {
    await api.stop();
    await removeFolder(folder);
  };
  return { origin, folder, api, env: {}, end };
}

/** A database of its own, migrated by the command; the API and the worker are processes apart. */
async function openOn(name: 'mariadb' | 'postgres', withRedis: boolean): Promise<Stage> {
  const folder = await newFolder();
  const database = await sqlBackends()
    .find((backend) => backend.name === name)!
    .create();
  const redis = withRedis ? redisBackend()! : undefined;
  const namespace = redis?.namespace();
  const env = { DATABASE_URL: database.url, QUEUE_PREFIX: namespace?.prefix ?? 'shop', ...(redis && { REDIS_URL: redis.url }) };
  const migrated = await new ShopProcess('shop-api/dist/migrate.js', folder, env).exit;
  if (migrated.code !== 0) throw new Error(`migrate: ${migrated.stderr}`);
  const worker = new ShopProcess('shop-worker/dist/main.js', folder, { ...env, LOG_LEVEL: 'warn' });
  const { api, origin } = await startApi(folder, { ...env, TANDEM_ROLE: 'api' });
  await worker.says(/worker runs on/);
  const end = async () => {
    await Promise.all([api.stop(), worker.stop()]);
    await namespace?.cleanUp();
    await database.drop();
    await removeFolder(folder);
  };
  return { origin, folder, api, env, end };
}

export function shopStages(): StagePlan[] {
  const has = (name: string) => sqlBackends().some((backend) => backend.name === name);
  return [
    { name: 'the embedded default', open: openEmbedded },
    ...(has('mariadb') && redisBackend() ? [{ name: 'MariaDB and Redis, API and worker apart', open: () => openOn('mariadb', true) }] : []),
    ...(has('postgres') ? [{ name: 'PostgreSQL alone, API and worker apart', open: () => openOn('postgres', false) }] : []),
  ];
}
