import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Redis } from 'ioredis';

/** A Redis of the test's own that it may kill and start again, on a free port. */
export class OwnRedis {
  private process?: ChildProcess;

  private constructor(readonly port: number) {}

  /** Whether this machine can run one. */
  static readonly available = spawnSync('redis-server', ['--version']).status === 0;

  /** Not started yet. */
  static async planned(): Promise<OwnRedis> {
    return new OwnRedis(await freePort());
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(...settings: string[]): Promise<void> {
    const child = spawn('redis-server', ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...settings], { stdio: 'ignore' });
    this.process = child;
    const probe = new Redis(this.url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    probe.on('error', () => undefined); // until it is up
    // NOAUTH is an answer, too.
    const answer = probe.ping().catch((error: unknown) => (String(error).includes('NOAUTH') ? undefined : Promise.reject(error as Error)));
    await Promise.race([answer, once(child, 'exit').then(() => Promise.reject(new Error(`redis-server on port ${this.port} ended at once`)))]);
    probe.disconnect();
  }

  /** kill -9. */
  kill(): Promise<void> {
    return this.signal('SIGKILL');
  }

  /** Stops answering without closing a connection; `resume` ends it. */
  pause(): void {
    this.process?.kill('SIGSTOP');
  }

  resume(): void {
    this.process?.kill('SIGCONT');
  }

  private async signal(name: NodeJS.Signals): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(name);
    await ended;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
