import { type INestApplicationContext, Module, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { randomBytes } from 'node:crypto';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { TandemModule, type TandemSettings } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { embedded, type EmbeddedDefault } from 'nest-tandem/embedded';
import { tandem } from 'nest-tandem/testing';
import { tandemDataSource, tandemMigrations, typeOrmStorage, type TypeOrmStorageOptions } from 'nest-tandem/typeorm';
import { redisBackend, type SqlBackend, type TestDatabase } from './backends.js';
import { PGLITE_SNAPSHOT } from './pglite-server.js';
import { bankEntities, bankProviders, Faults } from './bank.js';

/** Where applications of one test run: a database of their own and queues of their own. */
export interface BankPlace {
  readonly name: string;
  readonly database?: TestDatabase;
  readonly embedded?: EmbeddedDefault;
  readonly queuePrefix: string;
  readonly redisUrl?: string;
  remove(): Promise<void>;
}

/** MariaDB or MySQL with Redis where there is one, PostgreSQL alone, or the embedded default. */
export async function bankPlace(backend: SqlBackend): Promise<BankPlace> {
  const queuePrefix = `t${randomBytes(5).toString('hex')}`;
  if (backend.name === 'pglite') {
    const place = embedded({ dataDir: 'memory://', snapshotFile: PGLITE_SNAPSHOT });
    return { name: backend.name, embedded: place, queuePrefix, remove: () => place.close() };
  }
  const database = await backend.create();
  const redis = backend.dialect === 'mysql' ? redisBackend() : undefined;
  return { name: backend.name, database, queuePrefix, redisUrl: redis?.url, remove: () => database.drop() };
}

export interface Bank {
  readonly app: INestApplicationContext;
  readonly commands: CommandBus;
  readonly queries: QueryBus;
  readonly faults: Faults;
  readonly db: DataSource;
  idle(timeoutMs?: number): Promise<void>;
  /** Rows of a table as the database has them, decimals as text. */
  rows<T = Record<string, unknown>>(sql: string): Promise<T[]>;
}

export interface BankOptions extends TandemSettings {
  readonly providers?: readonly Provider[];
  readonly without?: readonly Type[];
  readonly entities?: readonly Type[];
  readonly poolSize?: number;
  /** Of a database server. */
  readonly pools?: Pick<TypeOrmStorageOptions, 'commandPoolSize' | 'queryPoolSize' | 'workerPoolSize' | 'acquireTimeoutMs' | 'answerTimeoutMs'>;
  readonly typeOrm?: Pick<TypeOrmModuleOptions, 'retryAttempts' | 'retryDelay'>;
}

export async function startBank(
  place: BankPlace,
  { providers = [], without = [], entities: ownEntities = [], poolSize = 6, pools = {}, typeOrm, ...settings }: BankOptions = {},
): Promise<Bank> {
  const entities = [...bankEntities, ...ownEntities];
  const migrations = tandemMigrations();
  const storage = place.embedded?.storage ?? typeOrmStorage({ queryPoolSize: 2, workerPoolSize: 4, ...pools });
  const jobs = place.embedded?.jobs ?? bullMqJobs({ connection: place.redisUrl ?? { postgres: place.database!.url }, queuePrefix: place.queuePrefix });
  const dataSource = async (): Promise<DataSourceOptions> => ({
    ...(place.embedded ? await place.embedded.typeOrmOptions() : place.database!.dataSourceOptions),
    ...({ poolSize, ...typeOrm } as object),
    entities,
    migrations,
    migrationsRun: true,
    synchronize: true,
  });

  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: dataSource, dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(entities),
      TandemModule.forRoot({ storage, jobs, interceptors: [], reconcileEveryMs: 200, consumerBackoffMs: 10, ...settings }),
    ],
    providers: [...bankProviders.filter((provider) => !without.includes(provider)), ...providers],
  })
  class BankModule {}

  const app = await NestFactory.createApplicationContext(BankModule, { logger: ['error', 'warn'], abortOnError: false });
  app.enableShutdownHooks();
  const db = app.get(DataSource);
  return {
    app,
    commands: app.get(CommandBus),
    queries: app.get(QueryBus),
    faults: app.get(Faults),
    db,
    idle: (timeoutMs = 20_000) => tandem(app).idle({ timeoutMs }),
    rows: <T>(sql: string) => db.query<T[]>(sql),
  };
}
