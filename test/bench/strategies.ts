/** How long after its COMMIT a command's row is visible under each sync strategy, API and worker apart, at rising loads; and what the command pays for it. */
import { randomUUID } from 'node:crypto';
import { SyncStrategy } from 'nest-tandem';
import { anAccount } from './commands.js';
import { Charge, startLedger } from './ledger.js';
import { atHead, placeBehind, resume } from './position.js';
import { median, quantile, say, type Stage } from './stage.js';
import { Eyes, type Latencies, paced } from './visible.js';
import { startWorkerProcess } from './worker-process.js';

const RATES = [50, 200, 500];
const STRATEGIES: Readonly<Record<string, SyncStrategy>> = {
  'immediate()': SyncStrategy.immediate(),
  'eventual()': SyncStrategy.eventual(),
  'batched(500, { maxWaitMs: 1_000 })': SyncStrategy.batched(500, { maxWaitMs: 1_000 }),
  'scheduled({ everyMs: 1_000 })': SyncStrategy.scheduled({ everyMs: 1_000 }),
};

export async function strategies(stage: Stage): Promise<void> {
  say('\n| sync strategy | commands a second | command p50 ms | visible p50 ms | visible p99 ms |\n| --- | ---: | ---: | ---: | ---: |');
  for (const [name, strategy] of Object.entries(STRATEGIES).filter(([each]) => each.includes(stage.only))) await under(name, strategy, stage);
}

async function under(name: string, strategy: SyncStrategy, { place, pool, rounds, seconds }: Stage): Promise<void> {
  await placeBehind(pool);
  await resume(pool);
  const syncStrategies = { 'bench.view': strategy };
  const worker = await startWorkerProcess(place, { syncStrategies });
  const { app, commands } = await startLedger(place, { role: 'api', syncStrategies });
  const eyes = new Eyes(pool);
  let answers: number[] = [];
  const command = async () => {
    const id = randomUUID();
    const start = performance.now();
    await commands.execute(new Charge(id, anAccount()));
    answers.push(performance.now() - start);
    return eyes.see(id);
  };
  await paced(command, 1, RATES[0]!); // both sides warm
  for (const rate of RATES) {
    const visible: Latencies[] = [];
    const answered: number[] = [];
    for (let round = 0; round < rounds; round++) {
      answers = [];
      visible.push(await paced(command, seconds, rate));
      answered.push(quantile(answers, 0.5));
    }
    const of = (share: number) => median(visible.map((latencies) => quantile(latencies, share))).toFixed(1);
    say(`| \`${name}\` | ${rate} | ${median(answered).toFixed(1)} | ${of(0.5)} | ${of(0.99)} |`);
  }
  await atHead(pool);
  await eyes.close();
  await worker.stop();
  await app.close();
}
