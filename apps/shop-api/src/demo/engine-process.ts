import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { CannotStart } from '../process-life.js';
import type { FromEngine, ToEngine } from './demo-messages.js';

const ENGINE = fileURLToPath(new URL('./demo-engine.js', import.meta.url));

/** The demo's handle of one of its processes. */
export class EngineProcess {
  private constructor(
    private readonly child: ChildProcess,
    private readonly onMessage: (message: FromEngine) => void,
  ) {}

  /** Resolves when it is ready. @throws what it said when it could not start */
  static async start(run: string, env: NodeJS.ProcessEnv, onMessage: (message: FromEngine) => void): Promise<EngineProcess> {
    const child = fork(ENGINE, [run], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const engine = new EngineProcess(child, onMessage);
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`a process of the demo ended while it started, with code ${code}`)));
      child.on('message', (message: FromEngine) => {
        if (message.kind === 'ready') resolve();
        else if (message.kind === 'failed') reject(failureOf(message));
        engine.onMessage(message);
      });
    });
    return engine;
  }

  get pid(): number {
    return this.child.pid!;
  }

  send(message: ToEngine): void {
    this.child.send(message);
  }

  /** No chance to tidy up. Resolves when it is gone. */
  async killHard(): Promise<void> {
    await this.end('SIGKILL');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill(signal);
    await gone;
  }
}

/** What the process said before it ended, as an error of this one. */
export function failureOf({ reason, stack }: Extract<FromEngine, { kind: 'failed' }>): Error {
  return stack === undefined ? new CannotStart(reason) : Object.assign(new Error(reason), { stack });
}
