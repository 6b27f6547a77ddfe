/** The built shop as processes of its own, as an operator runs it. `npm test` builds first. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const START_WITHIN_MS = 60_000;

export type Entry = 'shop-api/dist/main.js' | 'shop-worker/dist/main.js' | 'shop-api/dist/migrate.js' | 'shop-api/dist/import.js' | 'shop-api/dist/demo.js';

export interface Exit {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process with nothing in its environment but what it is given, in a folder of its own. */
export class ShopProcess {
  stdout = '';
  stderr = '';
  readonly exit: Promise<Exit>;
  private readonly child: ChildProcess;

  constructor(entry: Entry, folder: string, env: Readonly<Record<string, string>> = {}, { args = [], uid }: { readonly args?: readonly string[]; readonly uid?: number } = {}) {
    const file = join(ROOT, 'apps', entry);
    if (!existsSync(file)) throw new Error(`${file} is not built: run "npm run build" (npm test does)`);
    this.child = spawn(process.execPath, [file, ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      uid,
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exit = new Promise((resolve) => this.child.once('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr })));
  }

  /** Resolves when stdout matches. @throws with both outputs when the process ends first or takes a minute */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + START_WITHIN_MS;
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match) return match;
      if (this.child.exitCode !== null || this.child.signalCode !== null || Date.now() > deadline)
        throw new Error(`It did not say ${pattern}.\n--- stdout\n${this.stdout}\n--- stderr\n${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async stop(): Promise<Exit> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    return this.exit;
  }
}

/** An API on a free port. */
export async function startApi(folder: string, env: Readonly<Record<string, string>> = {}): Promise<{ api: ShopProcess; origin: string }> {
  const api = new ShopProcess('shop-api/dist/main.js', folder, { PORT: '0', LOG_LEVEL: 'warn', ...env });
  const [, origin] = await api.says(/API +(http:\S+)/);
  await api.says(/ops\/report.*\n\n/); // the end of the message
  return { api, origin: origin! };
}

export const newFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'tandem-e2e-'));
export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 3 });
