/**
 * Runs once before all test files: finds out which database servers are there, and names those that are left out.
 * With TANDEM_REQUIRE_SERVICES=1 a missing server fails the run instead.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import type { ServerUrls } from './backends.js';
import { OwnMysql } from './own-mysql.js';
import { OwnPostgres } from './own-postgres.js';
import { OwnRedis } from './own-redis.js';

const DETECT_TIMEOUT_MS = 3_000;

interface Server {
  readonly key: keyof ServerUrls;
  readonly label: string;
  readonly url: string;
  readonly variable: string;
  connect(url: string): Promise<void>;
}

/** No server at an address: what `connect` runs finds it by itself. */
const REGISTRY = 'npm:registry';
const OWN = 'path:';

const NEED_REDIS: readonly (keyof ServerUrls)[] = ['mariadb', 'mysql', 'ownMariadb', 'ownMysql'];

const servers: readonly Server[] = [
  { key: 'mariadb', label: 'MariaDB', variable: 'TANDEM_TEST_MARIADB_URL', url: 'mysql://root@127.0.0.1:3306', connect: (url) => connectMysql(url, 'MariaDB') },
  { key: 'mysql', label: 'MySQL', variable: 'TANDEM_TEST_MYSQL_URL', url: 'mysql://root@127.0.0.1:3307', connect: (url) => connectMysql(url, 'MySQL') },
  { key: 'postgres', label: 'PostgreSQL', variable: 'TANDEM_TEST_POSTGRES_URL', url: 'postgres://postgres@127.0.0.1:5432', connect: connectPostgres },
  { key: 'redis', label: 'Redis', variable: 'TANDEM_TEST_REDIS_URL', url: 'redis://127.0.0.1:6379', connect: connectRedis },
  {
    key: 'registry',
    label: 'packages from npm',
    variable: '',
    url: REGISTRY,
    connect: async () => void (await promisify(execFile)('npm', ['view', 'rxjs', 'version'], { timeout: 20_000 })),
  },
  ownServer('ownRedis', { of: 'Redis', program: 'redis-server', isThere: () => OwnRedis.available }),
  ownServer('ownMariadb', { of: 'MariaDB', program: 'mariadbd', isThere: () => OwnMysql.available.includes('mariadb') }),
  ownServer('ownMysql', { of: 'MySQL', program: 'mysqld (or TANDEM_TEST_MYSQLD)', isThere: () => OwnMysql.available.includes('mysql') }),
  ownServer('ownPostgres', { of: 'PostgreSQL', program: 'postgres', isThere: () => OwnPostgres.available }),
];

function ownServer(key: keyof ServerUrls, { of, program, isThere }: { readonly of: string; readonly program: string; readonly isThere: () => boolean }): Server {
  return {
    key,
    label: `outages of ${of}`,
    variable: '',
    url: `${OWN}${program}`,
    connect: () => (isThere() ? Promise.resolve() : Promise.reject(new Error(`no ${program}`))),
  };
}

async function connectMysql(url: string, product: 'MariaDB' | 'MySQL'): Promise<void> {
  const connection = await createConnection({ uri: url, connectTimeout: DETECT_TIMEOUT_MS });
  try {
    const [rows] = await connection.query('SELECT VERSION() AS version');
    const found = (rows as { version: string }[])[0]!.version.includes('MariaDB') ? 'MariaDB' : 'MySQL';
    if (found !== product) throw new Error(`it is ${found}`);
  } finally {
    connection.destroy();
  }
}

async function connectPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: DETECT_TIMEOUT_MS });
  client.on('error', () => undefined); // after the answer nobody cares
  await client.connect();
  try {
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}

async function connectRedis(url: string): Promise<void> {
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: DETECT_TIMEOUT_MS, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined); // `connect` rejects with the same error
  try {
    await redis.connect();
    await redis.ping();
  } finally {
    redis.disconnect();
  }
}

export async function setup(project: TestProject): Promise<void> {
  const found: { -readonly [K in keyof ServerUrls]: string } = {};
  const missing: string[] = [];
  await Promise.all(
    servers.map(async (server) => {
      const url = urlOf(server);
      try {
        await server.connect(url);
        found[server.key] = url;
      } catch (error) {
        missing.push(`${server.label} (${whyNot(server, url, error)})`);
      }
    }),
  );
  if (!found.redis) leaveOutWithoutRedis(found, missing);
  if (missing.length > 0 && process.env.TANDEM_REQUIRE_SERVICES === '1') throw new Error(`TANDEM_REQUIRE_SERVICES=1, but missing: ${missing.join(', ')}`);
  if (missing.length > 0) process.stderr.write(`left out: ${missing.toSorted().join(', ')}; everything else runs.\n`);
  project.provide('tandemServers', found);
}

/** Beside these databases Tandem's queues are in Redis; PostgreSQL and the embedded default have queues of their own. */
function leaveOutWithoutRedis(found: { -readonly [K in keyof ServerUrls]: string }, missing: string[]): void {
  for (const { key, label } of servers) {
    if (!NEED_REDIS.includes(key) || !found[key]) continue;
    delete found[key];
    missing.push(`${label} (which needs Redis beside it)`);
  }
}

/** @throws for a variable that is no URL; its value may be a secret */
function urlOf({ variable, url }: Server): string {
  const given = process.env[variable];
  if (!given) return url;
  // postgresql:// and rediss:// are fine, too.
  if (URL.canParse(given) && new URL(given).protocol.startsWith(new URL(url).protocol.slice(0, -1)) && new URL(given).hostname !== '') return given;
  throw new Error(`${variable} is not a URL such as ${url}`);
}

function whyNot({ variable }: Server, url: string, error: unknown): string {
  if (url === REGISTRY) return 'the registry does not answer';
  if (url.startsWith(OWN)) return `no ${url.slice(OWN.length)} on the PATH for its tests to start and kill`;
  return `no server at ${addressOf(url)}: ${reason(error)}; set ${variable}`;
}

function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}${port && `:${port}`}`;
}

function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code ?? (message || 'no answer');
}
