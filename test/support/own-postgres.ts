import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { postgresBackend, type SqlBackend } from './backends.js';
import { freePort, OwnServer } from './own-server.js';

const DEBIAN = '/usr/lib/postgresql';
const PROBE_WITHIN_MS = 2_000;
const START_TRIES = 20;

/** A PostgreSQL of the test's own with a data folder of its own: it may be killed and started again. Its user is postgres, without password. */
export class OwnPostgres extends OwnServer {
  protected override readonly name = 'postgres';

  private constructor(
    port: number,
    private readonly folder: string,
  ) {
    super(port);
  }

  /** Whether this machine can run one. */
  static readonly available = programs() !== undefined && (process.getuid?.() !== 0 || owner() !== undefined);

  /** Running, with no database but its own. `remove` ends it. */
  static async create(...settings: string[]): Promise<OwnPostgres> {
    const folder = await mkdtemp(join(tmpdir(), 'tandem-postgres-'));
    const { uid, gid } = owner() ?? {};
    if (uid !== undefined) await chown(folder, uid, gid!);
    const server = new OwnPostgres(await freePort(), folder);
    try {
      const init = ['-D', server.data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync'];
      await promisify(execFile)(join(programs()!, 'initdb'), init, { uid, gid, cwd: folder });
      await server.start(...settings);
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  get backend(): SqlBackend {
    return postgresBackend(this.url);
  }

  /** @param settings as `name=value` */
  async start(...settings: string[]): Promise<void> {
    const own = ['-D', this.data, '-p', String(this.port), '-k', this.folder, '-c', 'listen_addresses=127.0.0.1', '-c', 'shared_buffers=32MB'];
    const args = [...own, ...settings.flatMap((setting) => ['-c', setting])];
    const { uid, gid } = owner() ?? {};
    // After a kill the last of the old processes may still hold the shared memory.
    for (let tries = 1; ; tries++) {
      try {
        return await this.launch({ command: join(programs()!, 'postgres'), args, options: { uid, gid, cwd: this.folder } });
      } catch (error) {
        if (tries === START_TRIES || !/shared memory/.test(String(error))) throw error;
      }
    }
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** "Fast": clients are cut off, not waited for. */
  protected override get stopSignal(): NodeJS.Signals {
    return 'SIGINT';
  }

  protected override async probe(): Promise<void> {
    const client = new pg.Client({ connectionString: this.url, connectionTimeoutMillis: PROBE_WITHIN_MS });
    client.on('error', () => undefined); // after the answer nobody cares
    await client.connect();
    await client.end();
  }

  private get data(): string {
    return join(this.folder, 'data');
  }
}

/** The newest installed, where Debian puts them. */
function programs(): string | undefined {
  if (!existsSync(DEBIAN)) return undefined;
  const folders = readdirSync(DEBIAN).toSorted((a, b) => Number(a) - Number(b));
  return folders.map((version) => join(DEBIAN, version, 'bin')).findLast((folder) => existsSync(join(folder, 'initdb')));
}

/** PostgreSQL refuses to run as root. */
function owner(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  try {
    const idOf = (option: string) => Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    return undefined; // there is no such user
  }
}
