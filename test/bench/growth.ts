/** Whether a long log is slower: the same work on logs of 10,000, a million and ten million events, each in a database of its own. Not of the default parts: it takes minutes and 8 GB. */
import { randomUUID } from 'node:crypto';
import { Consumers } from 'nest-tandem';
import { anAccount } from './commands.js';
import { fillLog } from './fill-log.js';
import { Charge, startLedger } from './ledger.js';
import { atHead, pause, placeBehind } from './position.js';
import { compare, type Figure, onStage, perSecond, say, type Stage, tableHead, writing } from './stage.js';

const SIZES = [10_000, 1_000_000, 10_000_000];
const SHARDS = 64;
const READ_PER_SHARD = 150;

export async function growth(stage: Stage): Promise<void> {
  await withLogs(SIZES, stage, async (logs) => {
    tableHead();
    await compare(
      'commands, 8 writers, no consumer',
      stage,
      of(logs, ({ append }) => append),
    );
    tableHead('events per second');
    await compare(
      `catch-up of the last ${(READ_PER_SHARD * SHARDS).toLocaleString('en')} events`,
      stage,
      of(logs, ({ read }) => read),
    );
  });
}

interface GrownLog {
  readonly name: string;
  readonly append: () => Promise<Figure>;
  readonly read: () => Promise<Figure>;
}

const of = (logs: readonly GrownLog[], work: (log: GrownLog) => () => Promise<Figure>) => Object.fromEntries(logs.map((log) => [log.name, work(log)]));

/** Opens a database for each size, one inside the other. */
async function withLogs([size, ...others]: readonly number[], stage: Stage, work: (logs: readonly GrownLog[]) => Promise<void>, opened: readonly GrownLog[] = []): Promise<void> {
  if (size === undefined) return work(opened);
  await onStage(stage, async (own) => {
    const { pool, place, seconds } = own;
    const events = await fillLog(pool, size);
    say(`made a log of ${events.toLocaleString('en')} events`);
    await placeBehind(pool);
    await pause(pool);
    const alone = await startLedger({ ...place, queuePrefix: `${place.queuePrefix}x` }, { role: 'api', projection: false });
    const reader = await startLedger(place);
    const consumers = reader.app.get(Consumers);
    const log: GrownLog = {
      name: `${events.toLocaleString('en')} events in the log`,
      append: () => writing(() => alone.commands.execute(new Charge(randomUUID(), anAccount())), { writers: 8, seconds }),
      read: async () => {
        await pool.query('TRUNCATE bench_view');
        await placeBehind(pool, READ_PER_SHARD);
        const figure = await perSecond(async () => {
          await consumers.resume('bench.view');
          await atHead(pool);
          return READ_PER_SHARD * SHARDS;
        });
        await pause(pool);
        return figure;
      },
    };
    await withLogs(others, stage, work, [...opened, log]);
    await alone.app.close();
    await reader.app.close();
  });
}
