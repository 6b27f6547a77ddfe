import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
import { mariadbBackend, type SqlBackend } from './backends.js';
import { freePort, OwnServer } from './own-server.js';

/** Debian has servers where not every user's PATH leads. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };
const PROBE_WITHIN_MS = 2_000;

/** A MariaDB of the test's own with a data folder of its own: it may be killed and started again. Its user is root, without password. */
export class OwnMariadb extends OwnServer {
  protected override readonly name = 'mariadbd';

  private constructor(
    port: number,
    private readonly folder: string,
  ) {
    super(port);
  }

  /** Whether this machine can run one. */
  static readonly available = ['mariadbd', 'mariadb-install-db'].every((name) => spawnSync('which', [name], { env }).status === 0);

  /** Running, with no database but its own. `remove` ends it. */
  static async create(...settings: string[]): Promise<OwnMariadb> {
    const folder = await mkdtemp(join(tmpdir(), 'tandem-mariadb-'));
    const server = new OwnMariadb(await freePort(), folder);
    try {
      const install = ['--no-defaults', `--datadir=${server.data}`, '--auth-root-authentication-method=normal', '--skip-test-db', ...server.user];
      await promisify(execFile)('mariadb-install-db', install, { env });
      await server.start(...settings);
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  get url(): string {
    return `mysql://root@127.0.0.1:${this.port}`;
  }

  get backend(): SqlBackend {
    return mariadbBackend(this.url);
  }

  async start(...settings: string[]): Promise<void> {
    const own = ['--no-defaults', `--datadir=${this.data}`, `--socket=${this.folder}/socket`, `--pid-file=${this.folder}/pid`, ...this.user];
    const small = ['--innodb-buffer-pool-size=64M', '--innodb-log-file-size=32M', '--skip-name-resolve'];
    const args = [...own, `--port=${this.port}`, '--bind-address=127.0.0.1', ...small, ...settings];
    await this.launch({ command: 'mariadbd', args, options: { env } });
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  protected override async probe(): Promise<void> {
    const connection = await createConnection({ uri: this.url, connectTimeout: PROBE_WITHIN_MS });
    connection.destroy();
  }

  private get data(): string {
    return join(this.folder, 'data');
  }

  /** Root has to say that it means it. */
  private get user(): readonly string[] {
    return process.getuid?.() === 0 ? ['--user=root'] : [];
  }
}
