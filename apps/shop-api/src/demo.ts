/** `npm run demo`: places orders, kills the worker on the way, wipes the queue, and compares what is left of it. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Mailer } from 'shop';
import { comparison } from './demo/comparison.js';
import { Demo } from './demo/demo.js';
import { DemoPlace } from './demo/demo-place.js';
import { readEnvironment } from './environment.js';
import { describePlatform } from './platform.js';
import { CannotStart, explain, fail, onStopSignal } from './process-life.js';

const FEWEST = 40;
const MOST = 100_000;

const program = new Command('demo')
  .description('Places orders, kills its own worker with kill -9 three times, wipes its queue once, and compares the outcome from independent sides.')
  .option('--orders <n>', `how many, ${FEWEST} to ${MOST}`, wholeNumber, 2_000);

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < FEWEST || value > MOST) throw new InvalidArgumentError(`It is not a whole number from ${FEWEST} to ${MOST}.`);
  return value;
}

async function main({ orders }: { orders: number }): Promise<boolean> {
  const run = `demo-${randomBytes(3).toString('hex')}`;
  const environment = readEnvironment();
  const place = new DemoPlace(run, environment);
  const demo = new Demo({ run, orders, environment, env: place.variables });
  onStopSignal(() => demo.stop(new CannotStart('stopped; nothing of it stays behind.')));
  process.stdout.write(`Tandem demo on ${describePlatform(environment)}; the ids of its orders begin with ${run}\n\n`);
  try {
    await place.prepare();
    const results = await demo.play();
    const { text, agrees } = comparison({ ...results, mails: await new Mailer(join(place.folder, 'outbox')).count() });
    process.stdout.write(text);
    return agrees;
  } finally {
    await demo.end();
    await place.remove().catch((error: unknown) => process.stderr.write(`demo: ${run} could not be removed: ${explain(error) ?? String(error)}\n`));
  }
}

try {
  const agrees = await main(program.parse().opts());
  process.exit(agrees ? 0 : 1);
} catch (error) {
  fail('demo', error);
}
