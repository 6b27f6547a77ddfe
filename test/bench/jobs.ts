/**
 * From events to done jobs: saga → row → BullMQ → handler with one UPDATE, beside a BullMQ worker with one UPDATE that promises
 * nothing, and beside what a team would write so that a job's effect happens once.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { Queue, Worker } from 'bullmq';
import type { Pool, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { Consumers } from 'nest-tandem';
import { inTransaction } from './bare.js';
import { anAccount } from './commands.js';
import { fillLog } from './fill-log.js';
import { type BenchPlace, startLedger } from './ledger.js';
import { pause, placeBehind } from './position.js';
import { BATCH_SIZE, JOBS_AT_ONCE, settlements } from './settlements.js';
import { compare, type Figure, perSecond, type Stage, tableHead } from './stage.js';

/** More would only take longer. Each makes two events, of which a saga answers one. */
const JOBS = 5_000;
const ADDED_AT_ONCE = 500;
const SAGAS = ['bench.settlements', 'bench.settlements-together', 'bench.outside-settlements'];

export async function jobs(stage: Stage): Promise<void> {
  const { place, pool } = stage;
  const count = (await fillLog(pool, Math.min(stage.events, JOBS * 2))) / 2;
  const { app } = await startLedger(place, { projection: false, providers: settlements });
  for (const saga of SAGAS) await pause(pool, saga);
  tableHead('jobs per second');
  await compare(`events to done jobs, ${count.toLocaleString('en')}`, stage, {
    'BullMQ and one UPDATE by hand, no guarantees': () => perSecond(() => byHand(place, count, () => update(pool))),
    'the same, with a row that claims and ends the job, by hand': () => rowsByHand(pool, place, count),
    'durable saga, external jobs': () => throughSaga({ app, pool, count }, 'bench.outside-settlements'),
    [`durable saga, sql jobs with batchSize ${BATCH_SIZE}`]: () => throughSaga({ app, pool, count }, 'bench.settlements-together'),
    'durable saga, sql jobs': () => throughSaga({ app, pool, count }, 'bench.settlements'),
  });
  await app.close();
}

const update = (pool: Pool): Promise<unknown> => pool.query('UPDATE bench_account SET balance = balance + ? WHERE id = ?', [1, anAccount()]);

/** A queue filled in bulk and one worker, until all are done. */
async function byHand(place: BenchPlace, count: number, work: (id: string) => Promise<unknown>, ids?: readonly string[]): Promise<number> {
  const connection = { url: place.redisUrl };
  const queue = new Queue<{ id: string }>('by-hand', { connection, prefix: place.queuePrefix });
  const worker = new Worker<{ id: string }>('by-hand', ({ data }) => work(data.id), { connection, prefix: place.queuePrefix, concurrency: JOBS_AT_ONCE, autorun: false });
  const done = new Promise<void>((resolve, reject) => {
    let left = count;
    worker.on('completed', () => --left === 0 && resolve());
    worker.on('failed', (_, error) => reject(error));
    worker.on('error', reject);
  });
  try {
    void worker.run();
    for (let from = 0; from < count; from += ADDED_AT_ONCE) {
      const size = Math.min(ADDED_AT_ONCE, count - from);
      await queue.addBulk(Array.from({ length: size }, (_, n) => ({ name: 'job', data: { id: ids?.[from + n] ?? randomUUID() }, opts: { removeOnComplete: true } })));
    }
    await done;
    return count;
  } finally {
    await worker.close();
    await queue.obliterate({ force: true });
    await queue.close();
  }
}

/** A row for each job, a claim that counts, and "done" in the transaction of the effect: what it takes to survive a kill. */
async function rowsByHand(pool: Pool, place: BenchPlace, count: number): Promise<Figure> {
  await pool.query(
    "CREATE TABLE IF NOT EXISTS bench_job (id CHAR(36) CHARACTER SET ascii PRIMARY KEY, payload TEXT NOT NULL, state VARCHAR(10) NOT NULL DEFAULT 'waiting', attempts INT NOT NULL DEFAULT 0)",
  );
  await pool.query('TRUNCATE bench_job');
  const work = async (id: string) => {
    const [claimed] = await pool.query<ResultSetHeader>("UPDATE bench_job SET state = 'running', attempts = attempts + 1 WHERE id = ? AND state = 'waiting'", [id]);
    if (claimed.affectedRows === 0) return;
    await pool.query('SELECT payload FROM bench_job WHERE id = ?', [id]);
    await inTransaction(pool, async (connection) => {
      await connection.query('UPDATE bench_account SET balance = balance + ? WHERE id = ?', [1, anAccount()]);
      await connection.query("UPDATE bench_job SET state = 'done' WHERE id = ? AND state = 'running'", [id]);
    });
  };
  return perSecond(async () => {
    const ids = Array.from({ length: count }, () => randomUUID());
    for (let from = 0; from < count; from += ADDED_AT_ONCE) {
      await pool.query('INSERT INTO bench_job (id, payload) VALUES ?', [ids.slice(from, from + ADDED_AT_ONCE).map((id) => [id, '{"account":1}'])]);
    }
    return byHand(place, count, work, ids);
  });
}

async function throughSaga({ app, count, pool }: { readonly app: INestApplicationContext; readonly pool: Pool; readonly count: number }, saga: string): Promise<Figure> {
  await pool.query('DELETE FROM tandem_job');
  await placeBehind(pool, Number.MAX_SAFE_INTEGER, saga);
  const figure = await perSecond(async () => {
    await app.get(Consumers).resume(saga); // with a wake-up, as after a COMMIT: the worker does not look for it by itself for seconds
    for (let done = 0; done < count;) {
      await sleep(50);
      const [[row]] = await pool.query<(RowDataPacket & { n: number })[]>("SELECT COUNT(*) AS n FROM tandem_job WHERE state = 'done'");
      done = row!.n;
    }
    return count;
  });
  await pause(pool, saga);
  return figure;
}
