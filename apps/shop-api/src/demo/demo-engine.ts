/** A process of the demo that may be killed at any time: places the orders it is told to, or runs the workers, or both. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { Big } from 'big.js';
import { CountrySales, OrderView, PlaceOrder } from 'shop';
import { DataSource, In, Like } from 'typeorm';
import { startContext } from '../boot.js';
import { type Environment, readEnvironment } from '../environment.js';
import { explain } from '../process-life.js';
import { ReadSide } from '../read-side.js';
import type { DemoState, FromEngine, Sum, Sums, ToEngine } from './demo-messages.js';
import { countries, demoOrder } from './demo-orders.js';
import { wipeQueues } from './wipe-queues.js';

const AT_ONCE = 16;
const TELL_EVERY_MS = 400;
const TRIES = 40;
const PAUSE_MS = 250;

const run = process.argv[2]!;

function tell(message: FromEngine): void {
  process.send!(message);
}

async function main(): Promise<void> {
  process.on('disconnect', () => process.exit(0)); // the demo is gone, maybe before this has started
  const environment = { ...readEnvironment(), logLevel: 'error' } as const;
  const app = await startContext(environment);
  process.on('message', (message: ToEngine) => void handle(app, environment, message).catch(giveUp));
  tell({ kind: 'ready' });
  for (;;) {
    tell({ kind: 'state', ...(await stateOf(app)) });
    await sleep(TELL_EVERY_MS);
  }
}

async function handle(app: INestApplicationContext, environment: Environment, message: ToEngine): Promise<void> {
  switch (message.kind) {
    case 'place':
      return placeAll(app.get(CommandBus), message.numbers);
    case 'wipe':
      return tell({ kind: 'wiped', entries: await wipeQueues(environment, app.get(DataSource)) });
    case 'sums':
      return tell({ kind: 'sums', sums: await sumsOf(app.get(DataSource)) });
  }
}

async function placeAll(commands: CommandBus, numbers: readonly number[]): Promise<void> {
  const waiting = [...numbers];
  const lane = async () => {
    for (let number = waiting.shift(); number !== undefined; number = waiting.shift()) {
      await placeOne(commands, number);
      tell({ kind: 'acknowledged', number });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

/** Placing the same order again changes nothing, so an attempt whose outcome is unknown may be repeated. */
async function placeOne(commands: CommandBus, number: number): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await commands.execute(new PlaceOrder(demoOrder(run, number)));
      return;
    } catch (error) {
      if (tries === TRIES) throw error;
      await sleep(PAUSE_MS);
    }
  }
}

async function stateOf(app: INestApplicationContext): Promise<DemoState> {
  const read = await app
    .get(DataSource)
    .getRepository(OrderView)
    .countBy({ id: Like(`${run}-%`) });
  return { read, ...(await app.get(ReadSide).look()) };
}

async function sumsOf(dataSource: DataSource): Promise<Sums> {
  const views = await dataSource.getRepository(OrderView).findBy({ id: Like(`${run}-%`) });
  const sales = await dataSource.getRepository(CountrySales).findBy({ country: In([...countries(run)]) });
  const events = await dataSource
    .createQueryBuilder()
    .select('e.payload', 'payload')
    .from('tandem_event', 'e')
    .where('e.type = :type AND e.stream LIKE :streams', { type: 'order.placed', streams: `order-${run}-%` })
    .getRawMany<{ payload: string | { total: string } }>();
  return {
    views: sum(views.map(({ total }) => ({ orders: 1, total }))),
    sales: sum(sales.map(({ orders, netSales }) => ({ orders, total: netSales }))),
    log: sum(events.map(({ payload }) => ({ orders: 1, total: (typeof payload === 'string' ? (JSON.parse(payload) as { total: string }) : payload).total }))),
  };
}

const sum = (parts: readonly Sum[]): Sum => ({
  orders: parts.reduce((count, { orders }) => count + orders, 0),
  total: parts.reduce((total, part) => total.plus(part.total), new Big(0)).toFixed(4),
});

/** Tells why and ends: what runs in here would keep the process alive. */
function giveUp(error: unknown): void {
  const reason = explain(error);
  const failed: FromEngine = { kind: 'failed', reason: reason ?? String(error), stack: reason === undefined && error instanceof Error ? error.stack : undefined };
  process.send!(failed, () => process.exit(1));
}

await main().catch(giveUp);
