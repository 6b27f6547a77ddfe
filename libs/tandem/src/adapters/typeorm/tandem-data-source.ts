import { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { setPools } from './acquire.js';
import { ConnectionPools } from './connection-pools.js';
import { joinDataSource } from './join-data-source.js';
import { type MysqlDriver, mysqlTwins, type PgDriver, type PoolTwins, postgresTwins } from './pool-twins.js';
import { POSTGRES_OPTIONS } from './session-settings.js';

type MysqlOptions = Extract<DataSourceOptions, { type: 'mysql' | 'mariadb' }>;
type PostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>;

interface Prepared {
  readonly options: DataSourceOptions;
  readonly twins: PoolTwins;
}

/**
 * For `dataSourceFactory` of `TypeOrmModule.forRootAsync`: a data source whose repositories, managers and BaseEntity classes run in
 * the open unit of work, and whose sessions have the settings that Tandem relies on, whatever the server's defaults are (READ COMMITTED,
 * UTC, strict and safely quoted values, limits of seconds on locks and idle transactions). Of these, what you set yourself counts on PostgreSQL (`extra.options`); on MySQL and MariaDB they are fixed. It is not initialized yet: @nestjs/typeorm does that.
 * @throws TANDEM_WIRING for a data source that cannot carry Tandem.
 */
export async function tandemDataSource(options?: DataSourceOptions): Promise<DataSource> {
  const { options: prepared, twins } = await prepare(options, () => !pools.isMariaDb);
  const dataSource = new DataSource(prepared);
  const pools: ConnectionPools = new ConnectionPools(dataSource, twins);
  setPools(dataSource, pools);
  return joinDataSource(dataSource);
}

async function prepare(options: DataSourceOptions | undefined, endsIdle: () => boolean): Promise<Prepared> {
  switch (options?.type) {
    case 'mysql':
    case 'mariadb':
      return forMysql(options, endsIdle);
    case 'postgres':
      return forPostgres(options);
    default:
      throw new TandemError('TANDEM_WIRING', `tandemDataSource was given options of type "${options?.type}": it needs mysql, mariadb or postgres`);
  }
}

async function forMysql(options: MysqlOptions, endsIdle: () => boolean): Promise<Prepared> {
  if (options.replication) throw new TandemError('TANDEM_WIRING', 'A MySQL data source with `replication` cannot carry Tandem: its pools take no session settings');
  const twins = mysqlTwins((options.driver ?? (await import('mysql2')).default) as MysqlDriver, endsIdle);
  const prepared = {
    timezone: 'Z',
    supportBigNumbers: true,
    // A day is no point in time: as a Date of 00:00 UTC it would be the day before, west of Greenwich.
    dateStrings: ['DATE'],
    ...options,
    driver: twins.driver,
    // Otherwise mysql2 parses JSON columns itself and rounds integers above 2^53. TypeORM parses those of entities.
    extra: { jsonStrings: true, ...(options.extra as object | undefined) },
  };
  return { options: prepared as DataSourceOptions, twins };
}

async function forPostgres(options: PostgresOptions): Promise<Prepared> {
  const warn = (error: Error) => new Logger('Tandem').warn(`A connection that nobody used was lost: ${error.message}`);
  const twins = postgresTwins((options.driver ?? (await import('pg')).default) as PgDriver, options.poolErrorHandler ?? warn);
  const extra = (options.extra ?? {}) as { options?: string };
  // Of two settings of the same name the last counts, so the application's own go behind ours.
  const session = [POSTGRES_OPTIONS, extra.options].filter(Boolean).join(' ');
  return { options: { ...options, driver: twins.driver, extra: { keepAlive: true, ...extra, options: session } }, twins };
}
