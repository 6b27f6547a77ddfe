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

const DETECT_TIMEOUT_MS = 3_000;

interface Server {
  readonly key: keyof ServerUrls;
  readonly label: string;
  readonly url: string;
  readonly variable: string;
  connect(url: string): Promise<void>;
}

/** Not a server of ours: npm knows where it is. */
const REGISTRY = 'npm:registry';

const servers: readonly Server[] = [
  { key: 'mariadb', label: 'MariaDB', variable: 'TANDEM_TEST_MYSQL_URL', url: 'mysql://root@127.0.0.1:3306', connect: connectMysql },
  { key: 'postgres', label: 'PostgreSQL', variable: 'TANDEM_TEST_POSTGRES_URL', url: 'postgres://postgres@127.0.0.1:5432', connect: connectPostgres },
  { key: 'redis', label: 'Redis', variable: 'TANDEM_TEST_REDIS_URL', url: 'redis://127.0.0.1:6379', connect: connectRedis },
  {
    key: 'registry',
    label: 'packages from npm',
    variable: '',
    url: REGISTRY,
    connect: async () => void (await promisify(execFile)('npm', ['view', 'rxjs', 'version'], { timeout: 20_000 })),
  },
];

async function connectMysql(url: string): Promise<void> {
  const connection = await createConnection({ uri: url, connectTimeout: DETECT_TIMEOUT_MS });
  try {
    await connection.query('SELECT 1');
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
      const url = process.env[server.variable] ?? server.url;
      try {
        await server.connect(url);
        found[server.key] = url;
      } catch (error) {
        missing.push(
          url === REGISTRY ? `${server.label} (the registry does not answer)` : `${server.label} (no server at ${addressOf(url)}: ${reason(error)}; set ${server.variable})`,
        );
      }
    }),
  );
  if (missing.length > 0 && process.env.TANDEM_REQUIRE_SERVICES === '1') throw new Error(`TANDEM_REQUIRE_SERVICES=1, but missing: ${missing.join(', ')}`);
  if (missing.length > 0) process.stderr.write(`left out: ${missing.toSorted().join(', ')}; everything else runs.\n`);
  project.provide('tandemServers', found);
}

function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}${port && `:${port}`}`;
}

function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code ?? (message || 'no answer');
}
