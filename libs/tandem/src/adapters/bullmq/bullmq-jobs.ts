import type { Provider } from '@nestjs/common';
import type { RedisOptions } from 'ioredis';
import type pg from 'pg';
import { WakeUpTransport } from '../../events/wake-up-transport.js';
import { JobTransport } from '../../jobs/job-transport.js';
import type { TandemJobs } from '../../kernel/adapter.js';
import { ConnectionBudget } from '../../kernel/connection-budget.js';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import { InvalidationChannel } from '../../read/query-cache/invalidation-channel.js';
import { BullMqJobTransport } from './bullmq-job-transport.js';
import { BullMqWakeUpTransport } from './bullmq-wake-up-transport.js';
import { LocalInvalidationChannel } from './local-invalidation-channel.js';
import type { PostgresPlace, PostgresQueueServer } from './postgres-queue-server.js';
import { QueueServer } from './queue-server.js';
import type { RedisQueueServer } from './redis-queue-server.js';

export interface BullMqJobsOptions {
  /** Redis as a `redis://` URL or as ioredis options, or `{ postgres }` as a `postgres://` URL or as options of pg's pool. */
  readonly connection: string | RedisOptions | { readonly postgres: string | pg.PoolConfig };
  /** Begins every queue's name, so that queues of several applications stay apart. Default `tandem`. */
  readonly queuePrefix?: string;
  /** Start even where Redis may evict queued jobs under memory pressure; they come back from SQL, late. Default false. */
  readonly allowEviction?: boolean;
}

const OPTIONS: Readonly<Record<keyof BullMqJobsOptions, true>> = { connection: true, queuePrefix: true, allowEviction: true };
const PREFIX = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/**
 * Wake-ups, jobs and cache invalidation through BullMQ. Nothing connects before the application starts.
 * @throws TANDEM_WIRING for an unknown option, and a prefix or URL that cannot work; at start for a Redis that evicts keys.
 */
export function bullMqJobs(options: BullMqJobsOptions): TandemJobs {
  const { connection, queuePrefix = 'tandem', allowEviction = false } = knownOptions('bullMqJobs', options, OPTIONS);
  if (!PREFIX.test(queuePrefix)) throw new TandemError('TANDEM_WIRING', `queuePrefix "${queuePrefix}" is not up to 32 lower-case letters, digits, dots and dashes`);
  if (typeof connection === 'object' && 'postgres' in connection) {
    const config = typeof connection.postgres === 'string' ? { connectionString: urlOf(connection.postgres, 'postgres:', 'postgresql:') } : connection.postgres;
    const label = `PostgreSQL at ${addressOf(config)}`;
    return postgresJobs({ label, config: () => Promise.resolve(config), oneSession: false, queuePrefix });
  }
  if (typeof connection === 'string') urlOf(connection, 'redis:', 'rediss:');
  // Imported when it is needed: an application without Redis has no ioredis, one without PostgreSQL no pg.
  const newServer = async () => new (await import('./redis-queue-server.js')).RedisQueueServer({ connection, queuePrefix, allowEviction });
  const newChannel = async (server: QueueServer) => new (await import('./redis-invalidation-channel.js')).RedisInvalidationChannel(server as RedisQueueServer, queuePrefix);
  return { port: 'jobs', describe: 'BullMQ on Redis', providers: jobProviders(newServer, newChannel) };
}

/** Of a PostgreSQL that the embedded default or `bullMqJobs` found. */
export function postgresJobs(place: PostgresPlace): TandemJobs {
  const newServer = async (budget?: ConnectionBudget) => {
    const server = new (await import('./postgres-queue-server.js')).PostgresQueueServer(place);
    // In one session it is the session that everybody waits for, not a connection.
    if (!place.oneSession) budget?.beside('postgres', () => [{ of: 'BullMQ', atMost: server.connections }]);
    return server;
  };
  const newChannel = async (server: QueueServer) =>
    place.oneSession
      ? new LocalInvalidationChannel()
      : new (await import('./postgres-invalidation-channel.js')).PostgresInvalidationChannel(server as PostgresQueueServer, place.queuePrefix);
  return { port: 'jobs', describe: 'BullMQ on PostgreSQL', providers: jobProviders(newServer, newChannel) };
}

function jobProviders(newServer: (budget?: ConnectionBudget) => Promise<QueueServer>, newChannel: (server: QueueServer) => Promise<InvalidationChannel>): Provider[] {
  return [
    { provide: QueueServer, useFactory: newServer, inject: [{ token: ConnectionBudget, optional: true }] },
    { provide: WakeUpTransport, useFactory: (server: QueueServer) => new BullMqWakeUpTransport(server), inject: [QueueServer] },
    { provide: JobTransport, useFactory: (server: QueueServer) => new BullMqJobTransport(server), inject: [QueueServer] },
    { provide: InvalidationChannel, useFactory: closedWith(newChannel), inject: [QueueServer] },
  ];
}

const closedWith =
  (newChannel: (server: QueueServer) => Promise<InvalidationChannel>) =>
  async (server: QueueServer): Promise<InvalidationChannel> => {
    const channel = await newChannel(server);
    server.beforeClose(() => channel.stop());
    return channel;
  };

/** The message names no URL: it may carry a password. */
function urlOf(url: string, ...protocols: string[]): string {
  if (URL.canParse(url) && protocols.includes(new URL(url).protocol)) return url;
  throw new TandemError('TANDEM_WIRING', `The connection of bullMqJobs is not a ${protocols[0]}// URL`);
}

function addressOf(config: pg.PoolConfig): string {
  if (!config.connectionString) return `${config.host ?? 'localhost'}:${config.port ?? 5432}`;
  const { hostname, port } = new URL(config.connectionString);
  return `${hostname}:${port || 5432}`;
}
