import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TandemSettings } from 'nest-tandem';
import type { BenchPlace } from './ledger.js';

/** The queue whose jobs do nothing. */
export const ECHO = 'echo';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** What a worker is told beside its place; it travels as JSON. */
export type WorkerSettings = Pick<TandemSettings, 'syncStrategies'>;

/** Starts `worker.ts` and waits until it works. */
export async function startWorkerProcess(place: BenchPlace, settings: WorkerSettings = {}): Promise<{ stop(): Promise<void> }> {
  const child: ChildProcess = fork(here('../support/run-typescript.mjs'), [here('./worker.ts'), JSON.stringify(place), JSON.stringify(settings)], { execArgv: [] });
  const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
  if (said !== 'ready') throw new Error(`The worker ended with ${String(said)}`);
  return {
    async stop() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
