/**
 * The databases that tests run on. PGlite is always there; servers only where one was found (see detect-servers.ts), so
 * `describe.each(sqlBackends())` covers what this machine has.
 */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import type { DataSourceOptions } from 'typeorm';
import { describe, inject, it } from 'vitest';
import { startPglite } from './pglite-server.js';

export interface ServerUrls {
  readonly mariadb?: string;
  readonly mysql?: string;
  readonly postgres?: string;
  readonly redis?: string;
  /** Packages can be installed. */
  readonly registry?: string;
  /** A `redis-server` that tests may start and kill. */
  readonly ownRedis?: string;
  /** A `mariadbd` that tests may start and kill. */
  readonly ownMariadb?: string;
  /** A `mysqld` that tests may start and kill. */
  readonly ownMysql?: string;
  /** A `postgres` that tests may start and kill. */
  readonly ownPostgres?: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    tandemServers: ServerUrls;
  }
}

/** A fresh, empty database. */
export interface TestDatabase {
  readonly url: string;
  /** Where it is; no entities, no migrations. */
  readonly dataSourceOptions: DataSourceOptions;
  /** Close every connection to it first. */
  drop(): Promise<void>;
}

export interface SqlBackend {
  readonly name: 'pglite' | 'mariadb' | 'mysql' | 'postgres';
  readonly dialect: 'mysql' | 'postgres';
  create(): Promise<TestDatabase>;
}

export interface RedisBackend {
  readonly url: string;
  /** A prefix of its own, and how to remove everything under it. */
  namespace(): { readonly prefix: string; cleanUp(): Promise<void> };
}

const randomName = (): string => `tandem_test_${randomBytes(6).toString('hex')}`;

function databaseUrl(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

const pglite: SqlBackend = {
  name: 'pglite',
  dialect: 'postgres',
  async create() {
    const server = await startPglite();
    return { url: server.url, dataSourceOptions: { type: 'postgres', url: server.url }, drop: () => server.stop() };
  },
};

export const mysqlBackend = (name: 'mariadb' | 'mysql', server: string): SqlBackend => ({
  name,
  dialect: 'mysql',
  async create() {
    const database = randomName();
    await onMysql(server, `CREATE DATABASE ${database}`);
    const url = databaseUrl(server, database);
    return { url, dataSourceOptions: { type: 'mysql', url }, drop: () => onMysql(server, `DROP DATABASE IF EXISTS ${database}`) };
  },
});

export const postgresBackend = (server: string): SqlBackend => ({
  name: 'postgres',
  dialect: 'postgres',
  async create() {
    const name = randomName();
    await onPostgres(server, `CREATE DATABASE ${name}`);
    const url = databaseUrl(server, name);
    return { url, dataSourceOptions: { type: 'postgres', url }, drop: () => onPostgres(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
  },
});

async function onMysql(server: string, statement: string): Promise<void> {
  const connection = await createConnection(server);
  try {
    await connection.query(statement);
  } finally {
    await connection.end();
  }
}

async function onPostgres(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Every SQL database that this machine has, PGlite first. */
export function sqlBackends(): SqlBackend[] {
  const { mariadb, mysql, postgres } = inject('tandemServers');
  return [pglite, ...(mariadb ? [mysqlBackend('mariadb', mariadb)] : []), ...(mysql ? [mysqlBackend('mysql', mysql)] : []), ...(postgres ? [postgresBackend(postgres)] : [])];
}

/** The real servers among them: PGlite runs one transaction at a time, in this process. */
export const sqlServers = (): SqlBackend[] => sqlBackends().filter(({ name }) => name !== 'pglite');

/**
 * As `describe.each`, for what only a server can show. Where this machine has none, the suite stands there as left out: vitest
 * takes a file without any suite for a mistake.
 */
export function describeServers<T extends { readonly name: string }>(name: string, servers: readonly T[], suite: (server: T) => void): void {
  for (const server of servers) {
    describe(name.replace('$name', server.name), () => {
      suite(server);
    });
  }
  if (servers.length > 0) return;
  describe.runIf(false)(name.replace('$name', 'a server'), () => {
    it('needs one', () => Promise.reject(new Error('It ran without a server')));
  });
}

/** Redis, or undefined where there is none. */
export function redisBackend(): RedisBackend | undefined {
  const url = inject('tandemServers').redis;
  if (!url) return undefined;
  return {
    url,
    namespace() {
      const prefix = randomName();
      return { prefix, cleanUp: () => removeKeys(url, prefix) };
    },
  };
}

async function removeKeys(url: string, prefix: string): Promise<void> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  try {
    for await (const keys of redis.scanStream({ match: `*${prefix}*`, count: 1_000 }) as AsyncIterable<string[]>) {
      if (keys.length > 0) await redis.del(keys);
    }
  } finally {
    redis.disconnect();
  }
}
