import { Redis } from 'ioredis';
import type { DataSource } from 'typeorm';
import type { Environment } from '../environment.js';

const BULLMQ_TABLES = ['job', 'job_log', 'dedup', 'dedup_next', 'meta', 'event'] as const;
/** On the embedded default nobody else has queues. */
const EMBEDDED_PREFIX = 'tandem';

/** In one step, as a crash is one: what is added meanwhile is either gone or whole. */
const WIPE = `
local keys = redis.call('KEYS', ARGV[1])
for _, key in ipairs(keys) do redis.call('UNLINK', key) end
return #keys`;

/** Removes everything that BullMQ keeps for this application's queues, as a crash of Redis without persistence would. Returns how many entries. */
export async function wipeQueues({ redisUrl, databaseUrl, queuePrefix }: Environment, dataSource: DataSource): Promise<number> {
  return redisUrl === undefined ? wipePostgres(dataSource, databaseUrl === undefined ? EMBEDDED_PREFIX : queuePrefix) : wipeRedis(redisUrl, queuePrefix);
}

/** The keys of one prefix. Returns how many there were. */
export async function wipeRedis(url: string, prefix: string): Promise<number> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on('error', () => undefined); // the command rejects with it
  try {
    return (await redis.eval(WIPE, 0, `{${prefix}}:*`)) as number;
  } finally {
    redis.disconnect();
  }
}

async function wipePostgres(dataSource: DataSource, prefix: string): Promise<number> {
  let removed = 0;
  for (const table of BULLMQ_TABLES) {
    const [, count] = await dataSource.query<[unknown, number]>(`DELETE FROM bullmq.${table} WHERE queue = $1 OR queue LIKE $2`, [prefix, `%${prefix}.%`]);
    removed += count;
  }
  return removed;
}
