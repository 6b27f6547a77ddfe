/** `npm start` as a supervisor or a terminal ends it: signals reach npm, and the shop is below it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newFolder, removeFolder } from './shop-process.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const WITHIN = 120_000;

describe('npm start', () => {
  let folder: string;
  let npm: ChildProcess;
  let output = '';

  const groupLives = () => {
    try {
      return process.kill(-npm.pid!, 0);
    } catch {
      return false; // nobody of it is left
    }
  };

  beforeEach(async () => {
    folder = await newFolder();
    output = '';
    // npm test has built it; the leader of a group of its own, as a shell makes it.
    npm = spawn('npm', ['start', '--ignore-scripts'], {
      cwd: ROOT,
      detached: true,
      env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', TANDEM_ROLE: '', PORT: '0', DATA_DIR: join(folder, 'data') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [npm.stdout!, npm.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    await expect.poll(() => output, { timeout: 60_000 }).toContain('/ops/report');
  }, WITHIN);

  afterEach(async () => {
    if (groupLives()) process.kill(-npm.pid!, 'SIGKILL');
    await removeFolder(folder);
  });

  async function endsWell(): Promise<void> {
    expect(await once(npm, 'exit')).toEqual([0, null]);
    expect(output).toContain('finishing what runs');
    await expect.poll(groupLives, { timeout: 10_000 }).toBe(false);
  }

  it(
    'drains and exits with 0 when npm gets SIGTERM, and leaves no process behind',
    async () => {
      npm.kill('SIGTERM');
      await endsWell();
    },
    WITHIN,
  );

  it(
    'drains at one Ctrl-C, which reaches the shop from the terminal and from npm',
    async () => {
      process.kill(-npm.pid!, 'SIGINT');
      await endsWell();
    },
    WITHIN,
  );
});
