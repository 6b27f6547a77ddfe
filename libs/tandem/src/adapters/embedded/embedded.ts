import pg from 'pg';
import type { DataSourceOptions } from 'typeorm';
import type { TandemJobs, TandemStorage } from '../../kernel/adapter.js';
import { knownOptions } from '../../kernel/known-options.js';
import { postgresJobs } from '../bullmq/bullmq-jobs.js';
import { typeOrmStorage } from '../typeorm/typeorm-storage.js';
import { EmbeddedPostgres } from './embedded-postgres.js';

export interface EmbeddedOptions {
  /** Folder of the data; made when missing. `memory://` keeps them in memory until `close()`. */
  readonly dataDir: string;
  /** Name of the TypeORM data source. Default the default one. */
  readonly dataSource?: string;
  /** Begins the names of Tandem's tables. Default `tandem_`. */
  readonly tablePrefix?: string;
  /** What to run when the schema is old, for the error message. */
  readonly migrateCommand?: string;
  /** With `memory://`: a file that keeps the freshly built database, so that the next one starts in half a second. Made when missing. */
  readonly snapshotFile?: string;
}

export interface EmbeddedDefault {
  readonly storage: TandemStorage;
  readonly jobs: TandemJobs;
  /**
   * For `TypeOrmModule.forRootAsync`: add your entities and migrations. Starts the database, which closes by itself when
   * the application has closed.
   * @throws TANDEM_EMBEDDED_IN_USE, TANDEM_EMBEDDED_UNREADABLE
   */
  typeOrmOptions(): Promise<PostgresOptions>;
  /** Closes the database whoever still uses it. Only `memory://`, or a start that failed half-way, needs it. */
  close(): Promise<void>;
}

type PostgresOptions = Extract<DataSourceOptions, { readonly type: 'postgres' }>;

const OPTIONS: Readonly<Record<keyof EmbeddedOptions, true>> = { dataDir: true, dataSource: true, tablePrefix: true, migrateCommand: true, snapshotFile: true };

/**
 * Real TypeORM and real BullMQ on a PostgreSQL inside this process: nothing to install, one process at a time.
 * @throws TANDEM_WIRING for an unknown option, and a table prefix that is no lower-case SQL name.
 */
export function embedded(options: EmbeddedOptions): EmbeddedDefault {
  const { dataDir, snapshotFile, ...storage } = knownOptions('embedded', options, OPTIONS);
  const postgres = new EmbeddedPostgres({ dataDir, snapshotFile });
  const place = { label: 'The embedded PostgreSQL', config: () => postgres.config(), Pool: postgres.Pool, oneSession: true, queuePrefix: 'tandem' };
  return {
    // One session serves every connection: pools of their own would keep nobody from waiting, and an answer waits for everybody's turn.
    storage: { ...typeOrmStorage({ ...storage, queryPoolSize: 0, workerPoolSize: 0, answerTimeoutMs: 0 }), describe: 'embedded PostgreSQL' },
    jobs: { ...postgresJobs(place), describe: 'BullMQ on the embedded PostgreSQL' },
    async typeOrmOptions() {
      const { user, ...where } = await postgres.config();
      return { type: 'postgres', ...where, username: user, driver: Object.create(pg, { Pool: { value: postgres.Pool, enumerable: true } }) as unknown };
    },
    close: () => postgres.close(),
  };
}
