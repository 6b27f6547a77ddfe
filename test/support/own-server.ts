import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 50;

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly options?: SpawnOptions;
}

/** A server of the test's own, on a free port: it may be killed, stopped for a while, and started again with the same data. */
export abstract class OwnServer {
  private process?: ChildProcess;

  protected constructor(readonly port: number) {}

  protected abstract readonly name: string;
  /** Rejects until the server answers. */
  protected abstract probe(): Promise<void>;

  protected get isRunning(): boolean {
    const { process: child } = this;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Resolves when it answers. @throws when it ends before, with what it said */
  protected async launch({ command, args, options }: Launch): Promise<void> {
    if (this.isRunning) throw new Error(`${this.name} on port ${this.port} runs already`);
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    this.process = child;
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-4_000)));
    const failed = once(child, 'error').then(([error]) => Promise.reject(error as Error));
    failed.catch(() => undefined);
    for (const deadline = Date.now() + READY_WITHIN_MS; ;) {
      const isUp = await Promise.race([
        failed,
        this.probe().then(
          () => true,
          () => false,
        ),
      ]);
      if (!this.isRunning) throw new Error(`${this.name} on port ${this.port} ended at once: ${said}`);
      if (isUp) return;
      if (Date.now() > deadline) throw new Error(`${this.name} on port ${this.port} does not answer: ${said}`);
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** kill -9, with whatever it has started. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** In good order. */
  async stop(): Promise<void> {
    await this.end(this.stopSignal);
  }

  protected get stopSignal(): NodeJS.Signals {
    return 'SIGTERM';
  }

  /** Stops answering without closing a connection; `resume` ends it. */
  pause(): void {
    this.signal('SIGSTOP');
  }

  resume(): void {
    this.signal('SIGCONT');
  }

  private async end(name: NodeJS.Signals): Promise<void> {
    const { process: child } = this;
    if (!child || !this.isRunning) return;
    const ended = once(child, 'exit');
    // Those stopped would not hear of it.
    if (name !== 'SIGKILL') this.signal('SIGCONT');
    if (name === 'SIGKILL') this.signal(name);
    else child.kill(name);
    await ended;
  }

  private signal(name: NodeJS.Signals): void {
    const { process: child } = this;
    if (!child?.pid || !this.isRunning) return;
    const children = childrenOf(child.pid);
    child.kill(name);
    for (const pid of children) sendTo(pid, name);
  }
}

/** PostgreSQL has a process for each connection. */
function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return []; // it has ended
  }
}

function sendTo(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has ended
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
