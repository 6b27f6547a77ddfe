import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TandemRole } from 'nest-tandem';
import type { Release, ReleasePlace } from './release.js';
import type { Traffic, TrafficReport } from './traffic.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** A release in a process of its own, seen from its parent. */
export class ReleaseProcess {
  /** What it has written to its log. */
  said = '';

  private constructor(
    private readonly child: ChildProcess,
    private readonly events: Traffic['events'],
  ) {
    for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (this.said += text));
  }

  static async start(place: ReleasePlace, release: Release, role: TandemRole = 'all'): Promise<ReleaseProcess> {
    const child = fork(here('../../support/run-typescript.mjs'), [here('./release-child.ts'), JSON.stringify({ place, release, role })], { execArgv: [], silent: true });
    const started = new ReleaseProcess(child, release.marks ? 2 : 1);
    await started.answer();
    return started;
  }

  write(traffic: Omit<Traffic, 'events'>): void {
    this.child.send({ ...traffic, events: this.events });
  }

  /** It writes nothing more. */
  rest(): Promise<TrafficReport> {
    this.child.send('rest');
    return this.answer() as Promise<TrafficReport>;
  }

  /** As a deploy does it: what runs is ended, the rest is left. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = once(this.child, 'exit');
    if (this.child.connected) this.child.disconnect();
    await ended;
  }

  /** It has stopped itself. */
  get isFrozen(): boolean {
    const state = /\) (\w) /.exec(readFileSync(`/proc/${this.child.pid}/stat`, 'utf8'))![1];
    return state === 'T';
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  private async answer(): Promise<unknown> {
    const gone = new AbortController();
    const { signal } = gone;
    try {
      const ended = once(this.child, 'exit', { signal }).then(() => Promise.reject(new Error(`it ended: ${this.said}`)));
      ended.catch(() => undefined);
      const [answer] = (await Promise.race([once(this.child, 'message', { signal }), ended])) as [unknown];
      return answer;
    } finally {
      gone.abort();
    }
  }
}
