/** How a process of the shop begins and ends: one clear line when it cannot start, and a drain when it is told to stop. */
import { Logger } from '@nestjs/common';
import { isTandemError } from 'nest-tandem';
import { isShopError } from 'shop';
import { WrongEnvironment } from './environment.js';
import { databaseIsAway } from './problem-details.js';

const STOP_WITHIN_MS = 20_000;
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;
/** Ctrl-C below npm arrives twice: from the terminal, and passed on by npm. */
const SAME_WISH_MS = 1_000;

/** MySQL, PostgreSQL. */
const LOGIN_REFUSED: ReadonlySet<string> = new Set(['ER_ACCESS_DENIED_ERROR', 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR', '28P01', '28000']);

/** Something that a signal ends in order, e.g. a Nest application. */
export interface Closable {
  close(): Promise<void>;
}

/** A reason to stop that is already one clear sentence. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart';
}

/**
 * Starts what `start` returns and lets SIGINT and SIGTERM close it: exit code 0 when it drained, and at once when told again.
 * When it cannot start: one line on stderr, exit code 1.
 */
export async function runProcess(name: string, start: () => Promise<Closable>): Promise<void> {
  const running = start();
  stopOnSignals(name, running);
  try {
    await running;
  } catch (error) {
    fail(name, error);
  }
}

/** Prints why it stops and ends the process with exit code 1. */
export function fail(name: string, error: unknown): never {
  const reason = explain(error);
  if (reason === undefined) Logger.flush(); // what only a developer can mend needs the lines before
  process.stderr.write(`${name}: ${reason ?? (error instanceof Error ? (error.stack ?? error.message) : String(error))}\n`);
  process.exit(1);
}

/** Calls `stop` at the first SIGINT or SIGTERM; another one, more than a second later, ends the process at once. */
export function onStopSignal(stop: (signal: string) => void): void {
  let told: number | undefined;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (told === undefined) {
        told = performance.now();
        stop(signal);
      } else if (performance.now() - told > SAME_WISH_MS) process.exit(code);
    });
  }
}

function stopOnSignals(name: string, running: Promise<Closable>): void {
  onStopSignal((signal) => {
    process.stderr.write(`${name}: ${signal}, finishing what runs; another one, after a second, stops at once\n`);
    setTimeout(() => fail(name, new CannotStart(`did not stop within ${STOP_WITHIN_MS} ms`)), STOP_WITHIN_MS).unref();
    running
      .then((app) => app.close())
      .then(
        () => process.exit(0),
        (error: unknown) => fail(name, error),
      );
  });
}

/** One line for what an operator can mend; undefined for what only a developer can. */
export function explain(error: unknown): string | undefined {
  if (error instanceof WrongEnvironment || error instanceof CannotStart || isTandemError(error) || isShopError(error)) return error.message.replaceAll('\n', ' ');
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return `the port is taken by another process; stop it or set PORT. (${error.message})`;
  if (code === 'EACCES' && 'port' in error) return `the port may not be opened by this user; set PORT to one above 1023. (${error.message})`;
  if (code === 'EADDRNOTAVAIL') return `HOST is not an address of this machine. (${error.message})`;
  if (code !== undefined && LOGIN_REFUSED.has(code)) return 'the database refuses user or password; check DATABASE_URL.';
  if (code === 'ER_DBACCESS_DENIED_ERROR') return 'the user may not use the database that DATABASE_URL names; grant it, or check the name.';
  if (code === 'ER_BAD_DB_ERROR' || code === '3D000') return 'the database that DATABASE_URL names does not exist; create it first.';
  if (databaseIsAway(error)) return 'the database does not answer; start it or check DATABASE_URL.';
  return undefined;
}
