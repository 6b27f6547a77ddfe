/** A log that is there, folded into one row projection: by hand in batches, by Tandem in one worker, and by hand with one job an event. */
import type { Pool } from 'mysql2/promise';
import { Consumers } from 'nest-tandem';
import { bareFold, jobAnEvent } from './bare-fold.js';
import { fillLog } from './fill-log.js';
import { startLedger } from './ledger.js';
import { atHead, pause, placeBehind } from './position.js';
import { compare, perSecond, type Stage, tableHead } from './stage.js';

const SHARDS = 64;
const BATCH = 1_000;
/** Enough to know the rate of something so slow. */
const JOBS = 5_000;

export async function catchUp(stage: Stage): Promise<void> {
  const { place, pool } = stage;
  await pool.query('CREATE TABLE IF NOT EXISTS bench_checkpoint (id INT PRIMARY KEY, seq BIGINT NOT NULL)');
  await pool.query('INSERT IGNORE INTO bench_checkpoint SELECT shard, 0 FROM tandem_shard');
  await pool.query('CREATE TABLE IF NOT EXISTS bench_seen (event_id CHAR(36) CHARACTER SET ascii PRIMARY KEY)');
  const events = await fillLog(pool, stage.events);
  await pause(pool);
  const { app } = await startLedger(place);
  const consumers = app.get(Consumers);
  tableHead('events per second');
  await compare(`catch-up, ${events.toLocaleString('en')} events`, stage, {
    'mysql2 by hand': async () => {
      await forget(pool);
      return perSecond(async () => {
        let count = 0;
        for (let shard = 0; shard < SHARDS; shard++) count += await bareFold(pool, shard, BATCH);
        return count;
      });
    },
    'row projection': async () => {
      await forget(pool);
      const figure = await perSecond(async () => {
        await consumers.resume('bench.view');
        await atHead(pool);
        return events;
      });
      await pause(pool);
      return figure;
    },
    'one job and one transaction an event': async () => {
      await forget(pool);
      return perSecond(() => jobAnEvent(pool, place, Math.min(events, JOBS)));
    },
  });
  await app.close();
}

async function forget(pool: Pool): Promise<void> {
  for (const table of ['bench_view', 'bench_seen']) await pool.query(`TRUNCATE ${table}`);
  await pool.query('UPDATE bench_checkpoint SET seq = 0');
  await placeBehind(pool, Number.MAX_SAFE_INTEGER);
}
