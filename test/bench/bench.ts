/**
 * `npm run bench [-- --seconds N --rounds N --events N]`: Tandem beside the same statements by hand, in one run, in turns; medians and ratios.
 * Needs MariaDB (or MySQL) and Redis: TANDEM_TEST_MYSQL_URL and TANDEM_TEST_REDIS_URL, or 127.0.0.1.
 */
import 'reflect-metadata';
import { randomBytes, randomUUID } from 'node:crypto';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { createConnection, type Pool } from 'mysql2/promise';
import { tandem } from 'nest-tandem/testing';
import { bareCharge, bareFold, barePool } from './bare.js';
import { type BenchPlace, Charge, ChargeByRepository, startLedger } from './ledger.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '2' }, rounds: { type: 'string', default: '5' }, events: { type: 'string', default: '50000' } } });
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const eventCount = Number(values.events);
const ACCOUNTS = 1_000;

const say = (text: string) => void process.stdout.write(`${text}\n`);
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
const anAccount = () => 1 + Math.floor(Math.random() * ACCOUNTS);

async function perSecond(work: () => Promise<unknown>, writers: number): Promise<number> {
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1_000;
  await Promise.all(
    Array.from({ length: writers }, async () => {
      for (; performance.now() < end; count++) await work();
    }),
  );
  return count / ((performance.now() - start) / 1_000);
}

/** Every variant in each round, so that all meet the same noise. */
async function compare(name: string, baseline: string, variants: Readonly<Record<string, () => Promise<number>>>): Promise<void> {
  const results = new Map<string, number[]>(Object.keys(variants).map((variant) => [variant, []]));
  for (let round = 0; round < rounds; round++) for (const [variant, run] of Object.entries(variants)) results.get(variant)!.push(await run());
  for (const [variant, figures] of results) {
    const ratio = median(figures.map((figure, round) => figure / results.get(baseline)![round]!));
    say(`| ${name} | ${variant} | ${Math.round(median(figures)).toLocaleString('en')} | ${ratio.toFixed(2)} |`);
  }
}

async function commandRows(place: BenchPlace, pool: Pool): Promise<void> {
  const woken = await startLedger(place, { role: 'api' });
  const alone = await startLedger({ ...place, queuePrefix: `${place.queuePrefix}x` }, { role: 'api', projection: false });
  for (const writers of [1, 8, 32]) {
    await compare(`commands, ${writers} ${writers === 1 ? 'writer' : 'writers'}`, 'mysql2 by hand', {
      'mysql2 by hand': () => perSecond(() => bareCharge(pool, randomUUID(), anAccount()), writers),
      'UPDATE by em.query, no consumer': () => perSecond(() => alone.commands.execute(new Charge(randomUUID(), anAccount())), writers),
      'UPDATE by em.query, wake-ups': () => perSecond(() => woken.commands.execute(new Charge(randomUUID(), anAccount())), writers),
      'UPDATE by repository.update, wake-ups': () => perSecond(() => woken.commands.execute(new ChargeByRepository(randomUUID(), anAccount())), writers),
    });
  }
  await woken.app.close();
  await alone.app.close();
}

async function catchUpRows(place: BenchPlace, pool: Pool): Promise<void> {
  await fillLog(pool);
  await pool.query('CREATE TABLE bench_checkpoint (id INT PRIMARY KEY, seq BIGINT NOT NULL)');
  await pool.query('INSERT INTO bench_checkpoint SELECT shard, 0 FROM tandem_shard');
  await compare('catch-up, events', 'mysql2 by hand', {
    'mysql2 by hand': async () => {
      await pool.query('TRUNCATE bench_view');
      await pool.query('UPDATE bench_checkpoint SET seq = 0');
      const start = performance.now();
      let count = 0;
      for (let shard = 0; shard < 64; shard++) count += await bareFold(pool, shard, 1_000);
      return count / ((performance.now() - start) / 1_000);
    },
    'row projection': async () => {
      await pool.query('TRUNCATE bench_view');
      await pool.query("UPDATE tandem_checkpoint SET seq = 0, event_id = NULL WHERE consumer = 'bench.view'");
      const start = performance.now();
      const { app } = await startLedger(place, { reconcileEveryMs: 10 });
      await tandem(app).idle({ timeoutMs: 600_000 });
      const rate = eventCount / ((performance.now() - start) / 1_000);
      await app.close();
      return rate;
    },
  });
}

/** An even log: the same number of events in every shard, two to a stream. */
async function fillLog(pool: Pool): Promise<void> {
  await pool.query('TRUNCATE tandem_event');
  const perShard = Math.ceil(eventCount / 64 / 2) * 2;
  for (let shard = 0; shard < 64; shard++) {
    for (let from = 0; from < perShard; from += 1_000) {
      const rows = Array.from({ length: Math.min(1_000, perShard - from) }, (_, index) => {
        const seq = from + index + 1;
        const first = seq % 2 === 1;
        const id = `${shard}-${Math.ceil(seq / 2)}`;
        const payload = first ? { id, account: 1, amount: '12.3400' } : { id, text: 'a charge was made' };
        return [
          shard,
          seq,
          randomUUID(),
          '',
          `charge-${id}`,
          first ? 1 : 2,
          first ? 'bench.charged' : 'bench.noted',
          1,
          JSON.stringify(payload),
          '{"correlationId":"c","causationId":"c"}',
          '2026-01-01 00:00:00',
        ];
      });
      await pool.query('INSERT INTO tandem_event (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ?', [rows]);
    }
  }
  await pool.query('UPDATE tandem_shard SET head = ?', [perShard]);
}

const server = process.env.TANDEM_TEST_MYSQL_URL ?? 'mysql://root@127.0.0.1:3306';
const name = `tandem_bench_${randomBytes(4).toString('hex')}`;
const admin = await createConnection(server);
await admin.query(`CREATE DATABASE ${name}`);
const place: BenchPlace = {
  url: `${server.replace(/\/$/, '')}/${name}`,
  redisUrl: process.env.TANDEM_TEST_REDIS_URL ?? 'redis://127.0.0.1:6379',
  queuePrefix: name.replaceAll('_', '-'),
};
const pool = barePool(place.url);
try {
  await (await startLedger(place, { role: 'api' })).app.close();
  await pool.query("INSERT INTO bench_account SELECT seq, 0, 'somebody' FROM seq_1_to_1000");
  say(`${cpus()[0]!.model}, ${cpus().length} cores, Node ${process.version}; medians of ${rounds} rounds of ${seconds} s\n`);
  say('| what | variant | per second | ratio |\n| --- | --- | ---: | ---: |');
  await commandRows(place, pool);
  await catchUpRows(place, pool);
} finally {
  await pool.end();
  await admin.query(`DROP DATABASE ${name}`);
  await admin.end();
}
