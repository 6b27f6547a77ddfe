import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { applyMigrations } from '../apply-migrations.js';
import type { Environment } from '../environment.js';
import { CannotStart } from '../process-life.js';
import { wipeRedis } from './wipe-queues.js';

/** MySQL, PostgreSQL. */
const NOT_ALLOWED: ReadonlySet<unknown> = new Set(['ER_DBACCESS_DENIED_ERROR', '42501']);

/**
 * Where one run of the demo plays: a folder, a queue prefix and, on a server, a database of its own. Workers that run there
 * already would take its jobs, and what is open or broken there would be counted.
 */
export class DemoPlace {
  readonly folder: string;
  private readonly database: string;
  private made = false;

  constructor(
    private readonly run: string,
    private readonly environment: Environment,
  ) {
    this.folder = join(environment.dataDir, run);
    this.database = `tandem_${run.replaceAll('-', '_')}`;
  }

  /** For the processes of the demo. */
  get variables(): NodeJS.ProcessEnv {
    return { ...process.env, DATA_DIR: this.folder, QUEUE_PREFIX: this.run, DATABASE_URL: this.databaseUrl };
  }

  private get databaseUrl(): string | undefined {
    const { databaseUrl } = this.environment;
    if (databaseUrl === undefined) return undefined;
    const url = new URL(databaseUrl);
    url.pathname = `/${this.database}`;
    return url.href;
  }

  /** @throws CannotStart where this user may not make a database */
  async prepare(): Promise<void> {
    const { databaseUrl } = this;
    if (databaseUrl === undefined) return;
    try {
      await this.onServer(`CREATE DATABASE ${this.database}`);
      this.made = true;
      await applyMigrations(databaseUrl);
    } catch (error) {
      if (!NOT_ALLOWED.has((error as { code?: unknown }).code)) throw error;
      throw new CannotStart(
        `it plays in a database of its own, which is dropped afterwards, and the user of DATABASE_URL may not create ${this.database}; allow that, or leave DATABASE_URL unset.`,
      );
    }
  }

  /** End the processes first. */
  async remove(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
    const { databaseUrl, redisUrl } = this.environment;
    if (databaseUrl === undefined || !this.made) return;
    await this.onServer(`DROP DATABASE IF EXISTS ${this.database}`);
    if (redisUrl !== undefined) await wipeRedis(redisUrl, this.run);
  }

  private async onServer(statement: string): Promise<void> {
    const url = this.environment.databaseUrl!;
    const dataSource = await new DataSource({ type: url.startsWith('mysql:') ? 'mysql' : 'postgres', url } as DataSourceOptions).initialize();
    try {
      await dataSource.query(statement);
    } finally {
      await dataSource.destroy();
    }
  }
}
