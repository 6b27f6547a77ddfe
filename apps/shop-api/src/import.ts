/** `npm run import -- FILE.csv`: sends the lines of an invoice file through the command bus. May be stopped anywhere and started again. */
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { Command, InvalidArgumentError } from 'commander';
import { InvoiceImport, type InvoiceSummary, readInvoiceLines, type RejectReason } from 'shop';
import { startContext } from './boot.js';
import { type Environment, readEnvironment } from './environment.js';
import { CannotStart, fail, onStopSignal } from './process-life.js';
import { progressBar } from './progress-bar.js';
import { ReadSide } from './read-side.js';

interface ImportOptions {
  readonly concurrency: number;
  readonly rejects?: string;
  readonly json: boolean;
}

const MOST_AT_ONCE = 256;
const say = (text: string) => void process.stderr.write(`${text}\n`);

const program = new Command('import')
  .description('Imports an invoice file (InvoiceNo, InvoiceDate, CustomerID, Country, Quantity, UnitPrice) as orders and returns.')
  .argument('<file>', 'CSV file')
  .option('--concurrency <n>', `commands on their way at once, 1 to ${MOST_AT_ONCE}`, wholeNumber, 16)
  .option('--rejects <file>', 'write line number and reason of every rejected line here')
  .option(
    '--json',
    'print the summary as one JSON object on stdout, and all else on stderr; npm keeps its own lines off stdout with: npm run --silent import -- FILE --json',
    false,
  );

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > MOST_AT_ONCE) throw new InvalidArgumentError(`It is not a whole number from 1 to ${MOST_AT_ONCE}.`);
  return value;
}

async function main(file: string, options: ImportOptions): Promise<void> {
  const stop = stopOnSignals();
  const lines = await countLines(file);
  if (options.rejects !== undefined) await mustBeAnotherFile(options.rejects, file);
  const rejects = options.rejects === undefined ? undefined : await openRejects(options.rejects);
  const environment: Environment = { ...readEnvironment(), logLevel: 'error' };
  // Only commands at first: on the embedded default, which works serially, running the consumers beside them would take longer.
  const summary = await inApplication({ ...environment, role: 'api' }, (app) => sendLines(app, file, { ...options, lines, rejects, stop }));
  // What follows may fail, and changes nothing of it.
  await printed(options.json ? `${JSON.stringify(summary)}\n` : summaryText(summary));
  if (environment.databaseUrl === undefined) await inApplication({ ...environment, role: 'all' }, (app) => bringUpToDate(app.get(ReadSide), stop));
  else say('Running workers (npm start, npm run start:worker) bring the read side up to date.');
}

/** Resolves when stdout has it: a process that ends early loses what a pipe has not taken. */
const printed = (text: string): Promise<void> => new Promise((resolve) => process.stdout.write(text, () => resolve()));

async function inApplication<T>(environment: Environment, work: (app: INestApplicationContext) => Promise<T>): Promise<T> {
  const app = await startContext(environment);
  try {
    return await work(app);
  } finally {
    await app.close();
  }
}

interface Sending {
  readonly concurrency: number;
  readonly lines: number;
  readonly rejects?: Rejects;
  readonly stop: AbortSignal;
}

async function sendLines(app: INestApplicationContext, file: string, { concurrency, lines, rejects, stop }: Sending): Promise<InvoiceSummary> {
  const commands = app.get(CommandBus);
  const bar = progressBar('importing', lines);
  const invoices = new InvoiceImport({
    execute: (command) => commands.execute(command),
    concurrency,
    signal: stop,
    onProgress: (done) => bar.update(done),
    onReject: (line, reason) => rejects?.write(line, reason),
  });
  try {
    return await invoices.run(readInvoiceLines(createReadStream(file)));
  } finally {
    bar.stop();
    await rejects?.close();
  }
}

/** The embedded default has no other process that would. */
async function bringUpToDate(readSide: ReadSide, stop: AbortSignal): Promise<void> {
  const { lag: behind } = await readSide.look();
  const bar = progressBar('reading', behind);
  const { jobsOpen } = await readSide.caughtUp({ signal: stop, onProgress: ({ lag }) => bar.update(Math.max(0, behind - lag)) }).finally(() => bar.stop());
  if (jobsOpen > 0) say(`The read side is up to date. ${jobsOpen} mails are still queued; they go out while the application runs (npm start).`);
}

function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  onStopSignal(() => controller.abort(new CannotStart('stopped; start it again with the same file and it goes on where it was.')));
  return controller.signal;
}

async function countLines(file: string): Promise<number> {
  let count = 0;
  let last = 0x0a;
  try {
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
      for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, at + 1)) count++;
      last = chunk.at(-1) ?? last;
    }
  } catch (error) {
    throw new CannotStart(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
  return Math.max(0, count + (last === 0x0a ? 0 : 1) - 1);
}

/** Opened for rejects, the file would be empty before it is read; by another name or a link too. */
async function mustBeAnotherFile(rejects: string, file: string): Promise<void> {
  // One that is not there yet is another file; one that cannot be looked at is refused when it is opened.
  const [there, input] = await Promise.all([stat(rejects).catch(() => undefined), stat(file)]);
  if (there && there.ino === input.ino && there.dev === input.dev) throw new CannotStart(`${rejects} is the file to import; name another one for the rejects`);
}

interface Rejects {
  write(line: number, reason: RejectReason): void;
  close(): Promise<void>;
}

async function openRejects(file: string): Promise<Rejects> {
  const stream = createWriteStream(file);
  await new Promise<void>((resolve, reject) => {
    stream.once('open', () => resolve()).once('error', (error: NodeJS.ErrnoException) => reject(new CannotStart(`${file} cannot be written (${error.code})`)));
  });
  stream.write('line,reason\n');
  return {
    write: (line, reason) => void stream.write(`${line},${reason}\n`),
    async close() {
      stream.end();
      await finished(stream);
    },
  };
}

function summaryText({ placed, returned, already_imported, rejected }: InvoiceSummary): string {
  const rows = [
    ['placed', placed],
    ['returned', returned],
    ['already imported', already_imported],
    ...Object.entries(rejected).map(([reason, count]) => [`rejected: ${reason}`, count]),
  ] as const;
  return rows.map(([name, count]) => `${String(name).padEnd(34)}${String(count).padStart(9)}\n`).join('');
}

program.action(main);
await program.parseAsync().catch((error: unknown) => fail('import', error));
process.exit(0);
