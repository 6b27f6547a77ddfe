import { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { joinDataSource } from './join-data-source.js';
import { MYSQL_SESSION, POSTGRES_OPTIONS } from './session-settings.js';

type MysqlOptions = Extract<DataSourceOptions, { type: 'mysql' | 'mariadb' }>;
type PostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>;

interface PoolOfSessions {
  on(event: 'connection', listener: (session: Session) => void): unknown;
}
interface Session {
  query(text: string, callback: (error: Error | null) => void): unknown;
  destroy(): void;
}
interface MysqlDriver {
  createPool(config: unknown): PoolOfSessions;
}

/**
 * For `dataSourceFactory` of `TypeOrmModule.forRootAsync`: a data source whose repositories, managers and BaseEntity classes run in
 * the open unit of work, and whose sessions have the settings that Tandem relies on (READ COMMITTED, UTC, limits of seconds on
 * locks and idle transactions). What you set yourself stays. It is not initialized yet: @nestjs/typeorm does that.
 * @throws TANDEM_WIRING for a data source that cannot carry Tandem.
 */
export async function tandemDataSource(options?: DataSourceOptions): Promise<DataSource> {
  return joinDataSource(new DataSource(await prepared(options)));
}

async function prepared(options: DataSourceOptions | undefined): Promise<DataSourceOptions> {
  switch (options?.type) {
    case 'mysql':
    case 'mariadb':
      return mysqlOptions(options);
    case 'postgres':
      return postgresOptions(options);
    default:
      throw new TandemError('TANDEM_WIRING', `tandemDataSource was given options of type "${options?.type}": it needs mysql, mariadb or postgres`);
  }
}

async function mysqlOptions(options: MysqlOptions): Promise<DataSourceOptions> {
  if (options.replication) throw new TandemError('TANDEM_WIRING', 'A MySQL data source with `replication` cannot carry Tandem: its pools take no session settings');
  const driver = (options.driver ?? (await import('mysql2')).default) as MysqlDriver;
  return {
    timezone: 'Z',
    supportBigNumbers: true,
    // A day is no point in time: as a Date of 00:00 UTC it would be the day before, west of Greenwich.
    dateStrings: ['DATE'],
    ...options,
    driver: Object.create(driver as object, { createPool: { value: (config: unknown) => withSessionSettings(driver.createPool(config)) } }) as unknown,
    // Otherwise mysql2 parses JSON columns itself and rounds integers above 2^53. TypeORM parses those of entities.
    extra: { jsonStrings: true, ...(options.extra as object | undefined) },
  } as DataSourceOptions;
}

function withSessionSettings(pool: PoolOfSessions): PoolOfSessions {
  pool.on('connection', (session) => {
    for (const text of MYSQL_SESSION) {
      // Queued before the first statement of whoever waits for the connection. Without its settings it must not be used.
      session.query(text, (error) => {
        if (!error) return;
        new Logger('Tandem').error(`A database session refused its settings and was closed: ${error.message}`);
        session.destroy();
      });
    }
  });
  return pool;
}

function postgresOptions(options: PostgresOptions): DataSourceOptions {
  const extra = (options.extra ?? {}) as { options?: string };
  // Of two settings of the same name the last counts, so the application's own go behind ours.
  return { ...options, extra: { keepAlive: true, ...extra, options: [POSTGRES_OPTIONS, extra.options].filter(Boolean).join(' ') } };
}
