/** Where benchmarks run: a database and a queue prefix of their own, and how variants are compared. */
import { randomBytes } from 'node:crypto';
import { createConnection, type Pool } from 'mysql2/promise';
import { barePool } from './bare.js';
import { type BenchPlace, startLedger } from './ledger.js';

export interface BenchOptions {
  /** How long one variant runs in one round. */
  readonly seconds: number;
  readonly rounds: number;
  /** In the log, for what reads it. */
  readonly events: number;
  /** Only variants with this text in their name. */
  readonly only: string;
}

export interface Stage extends BenchOptions {
  readonly place: BenchPlace;
  /** For the statements by hand. */
  readonly pool: Pool;
}

/** One figure of one variant in one round. */
export interface Figure {
  readonly value: number;
  /** CPU time of this process for one unit of work, in µs. */
  readonly cpuMicros?: number;
}

type Variants = Readonly<Record<string, () => Promise<Figure>>>;

export const say = (text: string) => void process.stdout.write(`${text}\n`);
export const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
export const quantile = (numbers: readonly number[], share: number): number => numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))]!;

/** Runs `work`, which answers how many units it did. */
export async function perSecond(work: () => Promise<number>): Promise<Figure> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const count = await work();
  const { user, system } = process.cpuUsage(cpu);
  return { value: count / ((performance.now() - start) / 1_000), cpuMicros: (user + system) / count };
}

/** As many loops as there are writers, for `seconds`. */
export function writing(work: () => Promise<unknown>, { writers, seconds }: { readonly writers: number; readonly seconds: number }): Promise<Figure> {
  return perSecond(async () => {
    let count = 0;
    const end = performance.now() + seconds * 1_000;
    await Promise.all(
      Array.from({ length: writers }, async () => {
        for (; performance.now() < end; count++) await work();
      }),
    );
    return count;
  });
}

export function tableHead(unit = 'per second'): void {
  say(`\n| what | variant | ${unit} | ratio | Node µs each |\n| --- | --- | ---: | ---: | ---: |`);
}

/** Every variant in each round, so that all meet the same noise; the first is the baseline. Medians, of the ratios too. */
export async function compare(name: string, { only, rounds }: Pick<BenchOptions, 'only' | 'rounds'>, all: Variants): Promise<void> {
  const variants = Object.fromEntries(Object.entries(all).filter(([variant]) => variant.includes(only)));
  const results = new Map<string, Figure[]>(Object.keys(variants).map((variant) => [variant, []]));
  const [baseline] = results.keys();
  for (let round = 0; round < rounds; round++) for (const [variant, run] of Object.entries(variants)) results.get(variant)!.push(await run());
  const bases = results.get(baseline!)!;
  for (const [variant, figures] of results) {
    const ratio = median(figures.map(({ value }, round) => value / bases[round]!.value));
    const cpu = median(figures.map(({ cpuMicros = 0 }) => cpuMicros));
    const rate = median(figures.map(({ value }) => value));
    const shown = rate < 100 ? rate.toFixed(2) : Math.round(rate).toLocaleString('en');
    say(`| ${name} | ${variant} | ${shown} | ${ratio.toFixed(2)} | ${cpu > 0 ? cpu.toFixed(cpu < 10 ? 1 : 0) : ''} |`);
  }
}

/** Runs the parts in a database of their own, which is dropped afterwards. */
export async function onStage(options: BenchOptions, parts: (stage: Stage) => Promise<void>): Promise<void> {
  const server = process.env.TANDEM_TEST_MARIADB_URL ?? 'mysql://root@127.0.0.1:3306';
  const name = `tandem_bench_${randomBytes(4).toString('hex')}`;
  const place: BenchPlace = {
    url: `${server.replace(/\/$/, '')}/${name}`,
    redisUrl: process.env.TANDEM_TEST_REDIS_URL ?? 'redis://127.0.0.1:6379',
    queuePrefix: name.replaceAll('_', '-'),
  };
  const admin = await createConnection(server);
  await admin.query(`CREATE DATABASE ${name}`);
  const pool = barePool(place.url);
  try {
    await (await startLedger(place, { role: 'api' })).app.close();
    await pool.query("INSERT INTO bench_account SELECT seq, 0, 'somebody' FROM seq_1_to_1000");
    await parts({ ...options, place, pool });
  } finally {
    await pool.end();
    await admin.query(`DROP DATABASE ${name}`);
    await admin.end();
  }
}
