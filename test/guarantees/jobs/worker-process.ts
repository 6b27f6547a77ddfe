import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { JobPlace } from './job-application.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** Worker processes, each of which is started anew when it has died, as an orchestrator does it. */
export class Workers {
  deaths = 0;
  private readonly children = new Set<ChildProcess>();
  private isOver = false;

  constructor(
    private readonly place: JobPlace,
    count: number,
  ) {
    for (let i = 0; i < count; i++) this.start();
  }

  private start(): void {
    const { database, name, queuePrefix, redisUrl } = this.place;
    const told = JSON.stringify({ name, queuePrefix, redisUrl, database: database && { url: database.url, dataSourceOptions: database.dataSourceOptions } });
    const child = fork(here('../../support/run-typescript.mjs'), [here('./job-worker.ts'), told], { execArgv: [], silent: true });
    this.children.add(child);
    child.stdout!.resume();
    child.stderr!.resume();
    child.once('exit', () => {
      this.children.delete(child);
      if (this.isOver) return;
      this.deaths++;
      this.start();
    });
  }

  async end(): Promise<void> {
    this.isOver = true;
    await Promise.all(
      [...this.children].map(async (child) => {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }
}
