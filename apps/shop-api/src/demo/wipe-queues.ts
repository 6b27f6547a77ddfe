import { Redis } from 'ioredis';
import type { DataSource } from 'typeorm';
import type { Environment } from '../environment.js';

const BULLMQ_TABLES = ['job', 'job_log', 'dedup', 'dedup_next', 'meta', 'event'] as const;
/** On the embedded default nobody else has queues. */
const EMBEDDED_PREFIX = 'tandem';

/** Removes everything that BullMQ keeps for this application's queues, as a crash of Redis without persistence would. Returns how many entries. */
export async function wipeQueues({ redisUrl, databaseUrl, queuePrefix }: Environment, dataSource: DataSource): Promise<number> {
  return redisUrl === undefined ? wipePostgres(dataSource, databaseUrl === undefined ? EMBEDDED_PREFIX : queuePrefix) : wipeRedis(redisUrl, queuePrefix);
}

async function wipeRedis(url: string, prefix: string): Promise<number> {
  const redis = new Redis(url);
  let removed = 0;
  try {
    for await (const keys of redis.scanStream({ match: `{${prefix}}:*`, count: 1_000 }) as AsyncIterable<string[]>) {
      if (keys.length > 0) removed += await redis.unlink(keys);
    }
  } finally {
    redis.disconnect();
  }
  return removed;
}

async function wipePostgres(dataSource: DataSource, prefix: string): Promise<number> {
  let removed = 0;
  for (const table of BULLMQ_TABLES) {
    const [, count] = await dataSource.query<[unknown, number]>(`DELETE FROM bullmq.${table} WHERE queue = $1 OR queue LIKE $2`, [prefix, `%${prefix}.%`]);
    removed += count;
  }
  return removed;
}
