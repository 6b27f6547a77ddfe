import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import type { Site } from './application/site.js';
import { type Skew, skewedStart } from './clock-skew.js';
import type { Act } from './failpoints.js';
import type { FromProcess, Resources, ToProcess } from './messages.js';

export interface ProcessPlan {
  readonly main: string;
  readonly site: Site;
  readonly logFile: string;
  readonly skew?: Skew;
  readonly migrate?: boolean;
}

/** How a process ended. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One process of the application. */
export class AppProcess {
  readonly ended: Promise<End>;
  readonly ready: Promise<boolean>;
  isReady = false;
  onTripped: (point: string) => void = () => undefined;
  private readonly child: ChildProcess;
  private readonly log: WriteStream;

  constructor({ logFile, main, migrate, site, skew }: ProcessPlan) {
    const { env, execArgv } = skewedStart(skew);
    this.log = createWriteStream(logFile, { flags: 'a' });
    this.log.write(`--- ${new Date().toISOString()} ${skew ?? 'right clock'}\n`);
    const args = [JSON.stringify(site), ...(migrate ? ['migrate'] : [])];
    this.child = fork(main, args, { env: { ...process.env, NO_COLOR: '1', ...env }, execArgv: ['--expose-gc', '--enable-source-maps', ...execArgv], silent: true });
    this.child.stdout!.pipe(this.log, { end: false });
    this.child.stderr!.pipe(this.log, { end: false });
    this.child.on('message', (message: FromProcess) => message.kind === 'tripped' && this.onTripped(message.point));
    this.child.on('error', (error) => this.log.write(`${String(error)}\n`));
    this.ended = once(this.child, 'exit').then(([code, signal]) => ({ code, signal }) as End);
    // What it said last may come after its end.
    this.child.once('close', (code, signal) => this.log.end(`--- ended: ${code ?? signal}\n`));
    this.ready = Promise.race([this.said('ready').then(() => (this.isReady = true)), this.ended.then(() => false)]);
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  arm(point: string, act: Act): void {
    this.send({ kind: 'arm', point, act });
  }

  disarm(): void {
    this.send({ kind: 'disarm' });
  }

  /** Undefined when it ends first. */
  async resources(): Promise<Resources | undefined> {
    const answer = this.said('resources');
    this.send({ kind: 'resources' });
    const message = await Promise.race([answer, this.ended.then(() => undefined)]);
    return message?.resources;
  }

  private said<K extends FromProcess['kind']>(kind: K): Promise<Extract<FromProcess, { kind: K }>> {
    return new Promise((resolve) => {
      const listen = (message: FromProcess) => {
        if (message.kind !== kind) return;
        this.child.off('message', listen);
        resolve(message as Extract<FromProcess, { kind: K }>);
      };
      this.child.on('message', listen);
    });
  }

  /** To one that has just ended nothing can be said. */
  private send(message: ToProcess): void {
    if (this.isAlive && this.child.connected) this.child.send(message, () => undefined);
  }
}
