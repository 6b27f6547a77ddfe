/**
 * Runs once before all test files: finds out which database servers are there, and names those that are left out.
 * With TANDEM_REQUIRE_SERVICES=1 a missing server fails the run instead.
 */
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

const servers: readonly Server[] = [
  { key: 'mariadb', label: 'MariaDB', variable: 'TANDEM_TEST_MYSQL_URL', url: 'mysql://root@127.0.0.1:3306', connect: connectMysql },
  { key: 'postgres', label: 'PostgreSQL', variable: 'TANDEM_TEST_POSTGRES_URL', url: 'postgres://postgres@127.0.0.1:5432', connect: connectPostgres },
  { key: 'redis', label: 'Redis', variable: 'TANDEM_TEST_REDIS_URL', url: 'redis://127.0.0.1:6379', connect: connectRedis },
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
        const { hostname, port } = new URL(url);
        missing.push(`${server.label} (no server at ${hostname}${port && `:${port}`}: ${reason(error)}; set ${server.variable})`);
      }
    }),
  );
  if (missing.length > 0 && process.env.TANDEM_REQUIRE_SERVICES === '1') throw new Error(`TANDEM_REQUIRE_SERVICES=1, but missing: ${missing.join(', ')}`);
  if (missing.length > 0) process.stderr.write(`left out: ${missing.toSorted().join(', ')}; everything else runs.\n`);
  project.provide('tandemServers', found);
}

function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code ?? (message || 'no answer');
}
