/**
 * A PostgreSQL in this process (PGlite), behind a socket so that TypeORM and BullMQ use it through plain `pg`. It starts when
 * somebody first asks where it is, and closes when its last pool has ended: whichever of TypeORM and BullMQ closes last waits
 * for it. A pool that connects later starts it again. Transactions run one after the other: an open one holds back all else.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { Logger } from '@nestjs/common';
import type pg from 'pg';
import { TandemError } from '../../kernel/errors.js';
import { countedPool } from './counted-pool.js';
import { FolderLock } from './folder-lock.js';
import { wholeBatches } from './whole-batches.js';

export const MEMORY = 'memory://';
const PORT = 5432;
const LONGEST_SOCKET_PATH = 100;

export interface EmbeddedPlace {
  readonly dataDir: string;
  readonly snapshotFile?: string;
}

interface Running {
  readonly db: PGlite;
  readonly server: PGLiteSocketServer;
  readonly lock?: FolderLock;
}

export class EmbeddedPostgres {
  readonly Pool: typeof pg.Pool;
  private readonly logger = new Logger('Tandem');
  private readonly folder: string;
  private pools = 0;
  private running?: Promise<Running>;
  private stopping: Promise<void> = Promise.resolve();
  private inMemory?: PGlite;
  private address?: { readonly host: string; readonly port: number };

  constructor(private readonly place: EmbeddedPlace) {
    this.folder = place.dataDir === MEMORY ? MEMORY : resolve(place.dataDir);
    this.Pool = countedPool({
      ready: async () => void (await this.config()),
      opened: () => (this.pools += 1),
      ended: async () => {
        this.pools -= 1;
        if (this.pools === 0) await this.stop();
      },
    });
  }

  /**
   * Where it listens; starts it where it does not run.
   * @throws TANDEM_EMBEDDED_IN_USE, TANDEM_EMBEDDED_UNREADABLE
   */
  async config(): Promise<{ readonly host: string; readonly port: number; readonly user: string; readonly database: string }> {
    await this.stopping;
    this.running ??= this.start();
    try {
      await this.running;
    } catch (error) {
      this.running = undefined;
      throw error;
    }
    return { ...this.address!, user: 'postgres', database: 'postgres' };
  }

  /** Closes it whoever still uses it; what was in memory is gone. */
  async close(): Promise<void> {
    await this.stop();
    await this.inMemory?.close();
    this.inMemory = undefined;
  }

  private async start(): Promise<Running> {
    const lock = this.folder === MEMORY ? undefined : await this.lockFolder();
    try {
      const db = this.folder === MEMORY ? (this.inMemory ??= await this.openInMemory()) : await this.openFolder();
      return { db, server: await this.listen(db), lock };
    } catch (error) {
      await lock?.release();
      throw error;
    }
  }

  private stop(): Promise<void> {
    const { running } = this;
    this.running = undefined;
    if (running) this.stopping = this.stopping.then(() => this.shutDown(running));
    return this.stopping;
  }

  private async shutDown(running: Promise<Running>): Promise<void> {
    const { db, server, lock } = await running;
    await server.stop();
    await setImmediate(); // the server lets go of its connections one turn later
    if (db !== this.inMemory) await db.close();
    await lock?.release();
  }

  private async lockFolder(): Promise<FolderLock> {
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      return await FolderLock.take(this.folder);
    } catch (error) {
      throw this.unreadable(error);
    }
  }

  private async openFolder(): Promise<PGlite> {
    const dataDir = join(this.folder, 'postgres');
    const unfinished = join(this.folder, 'postgres-unfinished');
    try {
      if (existsSync(unfinished)) await rm(dataDir, { recursive: true, force: true }); // nothing was ever written to it
      if (existsSync(dataDir)) return await PGlite.create({ dataDir });
      this.logger.log(`Building the embedded database in ${this.folder} (first start only, some seconds) …`);
      await writeFile(unfinished, '');
      await mkdir(dataDir, { mode: 0o700 });
      const db = await PGlite.create({ dataDir });
      await rm(unfinished);
      return db;
    } catch (error) {
      throw this.unreadable(error);
    }
  }

  private async openInMemory(): Promise<PGlite> {
    const { snapshotFile } = this.place;
    if (!snapshotFile) return PGlite.create();
    if (existsSync(snapshotFile)) return PGlite.create({ loadDataDir: new Blob([await readFile(snapshotFile)]) });
    const db = await PGlite.create();
    const snapshot = await db.dumpDataDir('none');
    await mkdir(dirname(snapshotFile), { recursive: true });
    const own = `${snapshotFile}.${randomBytes(4).toString('hex')}`; // several processes may get here at once
    await writeFile(own, Buffer.from(await snapshot.arrayBuffer()));
    await rename(own, snapshotFile);
    return db;
  }

  /** On a unix socket in a folder that only this user can enter; where that cannot be, on a free port of 127.0.0.1. */
  private async listen(db: PGlite): Promise<PGLiteSocketServer> {
    this.address ??= await socketFolder();
    const { host, port } = this.address;
    const where = host.startsWith('/') ? { path: join(host, `.s.PGSQL.${port}`) } : { host, port };
    const server = new PGLiteSocketServer({ db: wholeBatches(db), ...where, maxConnections: 1_000 });
    await server.start();
    if (!host.startsWith('/')) this.address = { host, port: Number(server.getServerConn().split(':').at(-1)) };
    return server;
  }

  private unreadable(error: unknown): TandemError {
    if (error instanceof TandemError) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new TandemError('TANDEM_EMBEDDED_UNREADABLE', `The data folder ${this.folder} cannot be used: ${reason}`, { cause: error, data: { folder: this.folder } });
  }
}

async function socketFolder(): Promise<{ host: string; port: number }> {
  const nowhere = { host: '127.0.0.1', port: 0 };
  if (process.platform === 'win32' || Buffer.byteLength(tmpdir()) + 30 > LONGEST_SOCKET_PATH) return nowhere;
  const folder = await mkdtemp(join(tmpdir(), 'tandem-'));
  await chmod(folder, 0o700);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return { host: folder, port: PORT };
}
