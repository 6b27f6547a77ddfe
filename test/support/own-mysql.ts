import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
import { mysqlBackend, type SqlBackend } from './backends.js';
import { freePort, OwnServer } from './own-server.js';

export type MysqlName = 'mariadb' | 'mysql';

interface Kind {
  readonly label: string;
  /** The server's program: a name on the PATH, or a path. */
  readonly command: string;
  readonly isThere: () => boolean;
  /** What makes a data folder whose root has no password. */
  readonly install: (data: string) => readonly [command: string, ...args: string[]];
  readonly settings: readonly string[];
}

/** Debian has servers where not every user's PATH leads. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };
const PROBE_WITHIN_MS = 2_000;
/** What scripts/mysql-server.sh fetches. */
const FETCHED = join(process.env.TANDEM_MYSQL_HOME || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tandem-mysql'), 'bin/mysqld');
/** On Debian a `mysqld` on the PATH is MariaDB's. */
const MYSQLD = process.env.TANDEM_TEST_MYSQLD || (existsSync(FETCHED) ? FETCHED : 'mysqld');

const KINDS: Readonly<Record<MysqlName, Kind>> = {
  mariadb: {
    label: 'MariaDB',
    command: 'mariadbd',
    isThere: () => ['mariadbd', 'mariadb-install-db'].every((name) => spawnSync('which', [name], { env }).status === 0),
    install: (data) => ['mariadb-install-db', '--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    settings: ['--innodb-log-file-size=32M', '--skip-name-resolve'],
  },
  mysql: {
    label: 'MySQL',
    command: MYSQLD,
    isThere: () => /mysqld +Ver (?!.*MariaDB)/.test(spawnSync(MYSQLD, ['--no-defaults', '--version'], { env, encoding: 'utf8' }).stdout ?? ''),
    install: (data) => [MYSQLD, '--no-defaults', '--initialize-insecure', `--datadir=${data}`, '--secure-file-priv=NULL'],
    // Names are resolved: its root is one of localhost only.
    settings: ['--innodb-redo-log-capacity=64M', '--mysqlx=OFF', '--secure-file-priv=NULL'],
  },
};

/** A MariaDB or MySQL of the test's own with a data folder of its own: it may be killed and started again. Its user is root, without password. */
export class OwnMysql extends OwnServer {
  protected override readonly name: string;

  private constructor(
    private readonly of: MysqlName,
    port: number,
    private readonly folder: string,
  ) {
    super(port);
    this.name = KINDS[of].command;
  }

  /** Which of them this machine can run. */
  static readonly available: readonly MysqlName[] = (['mariadb', 'mysql'] as const).filter((name) => KINDS[name].isThere());

  /** Running, with no database but its own. `remove` ends it. */
  static async create(of: MysqlName, ...settings: string[]): Promise<OwnMysql> {
    const folder = await mkdtemp(join(tmpdir(), `tandem-${of}-`));
    const server = new OwnMysql(of, await freePort(), folder);
    try {
      const [command, ...args] = KINDS[of].install(server.data);
      await promisify(execFile)(command, [...args, ...server.user], { env });
      await server.start(...settings);
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  /** As people call it. */
  get label(): string {
    return KINDS[this.of].label;
  }

  get url(): string {
    return `mysql://root@127.0.0.1:${this.port}`;
  }

  get backend(): SqlBackend {
    return mysqlBackend(this.of, this.url);
  }

  async start(...settings: string[]): Promise<void> {
    const own = ['--no-defaults', `--datadir=${this.data}`, `--socket=${this.folder}/socket`, `--pid-file=${this.folder}/pid`, ...this.user];
    const small = ['--innodb-buffer-pool-size=64M', ...KINDS[this.of].settings];
    const args = [...own, `--port=${this.port}`, '--bind-address=127.0.0.1', ...small, ...settings];
    await this.launch({ command: KINDS[this.of].command, args, options: { env } });
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
