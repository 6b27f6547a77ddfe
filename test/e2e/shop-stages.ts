/** Where the shop runs in e2e tests: embedded always, servers where this machine has them. */
import { redisBackend, sqlBackends } from '../support/backends.js';
import { newFolder, removeFolder, ShopProcess, startApi } from './shop-process.js';
import { openShopServer } from './shop-server.js';

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

/** The API and the worker are processes apart. */
async function openOn(name: 'mariadb' | 'mysql' | 'postgres', withRedis: boolean): Promise<Stage> {
  const folder = await newFolder();
  const { env, drop } = await openShopServer(name, withRedis, folder);
  const worker = new ShopProcess('shop-worker/dist/main.js', folder, { ...env, LOG_LEVEL: 'warn' });
  const { api, origin } = await startApi(folder, { ...env, TANDEM_ROLE: 'api' });
  await worker.says(/worker runs on/);
  const end = async () => {
    await Promise.all([api.stop(), worker.stop()]);
    await drop();
    await removeFolder(folder);
  };
  return { origin, folder, api, env, end };
}

export function shopStages(): StagePlan[] {
  const has = (name: string) => sqlBackends().some((backend) => backend.name === name);
  return [
    { name: 'the embedded default', open: openEmbedded },
    ...(has('mariadb') && redisBackend() ? [{ name: 'MariaDB and Redis, API and worker apart', open: () => openOn('mariadb', true) }] : []),
    ...(has('mysql') && redisBackend() ? [{ name: 'MySQL and Redis, API and worker apart', open: () => openOn('mysql', true) }] : []),
    ...(has('postgres') ? [{ name: 'PostgreSQL alone, API and worker apart', open: () => openOn('postgres', false) }] : []),
  ];
}
