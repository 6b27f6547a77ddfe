import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { TandemJobs, TandemStorage } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { embedded } from 'nest-tandem/embedded';
import { typeOrmStorage } from 'nest-tandem/typeorm';
import { MIGRATE_COMMAND, shopDataSource, shopSchema } from './data-source-options.js';
import type { Environment } from './environment.js';

/** What the application stands on. */
export interface Platform {
  readonly storage: TandemStorage;
  readonly jobs: TandemJobs;
  dataSource(): Promise<TypeOrmModuleOptions>;
}

/** A database that is away is told at once: whoever starts the process again waits better than we do. */
const CONNECT_ONCE = { retryAttempts: 1 } as const;

/** Servers where DATABASE_URL names one, else everything in this process. */
export function platformOf({ databaseUrl, redisUrl, queuePrefix, dataDir }: Environment): Platform {
  if (databaseUrl === undefined) {
    const { storage, jobs, typeOrmOptions } = embedded({ dataDir });
    return { storage, jobs, dataSource: async () => ({ ...(await typeOrmOptions()), ...shopSchema(), ...CONNECT_ONCE, migrationsRun: true }) };
  }
  return {
    storage: typeOrmStorage({ migrateCommand: MIGRATE_COMMAND }),
    jobs: bullMqJobs({ connection: redisUrl ?? { postgres: databaseUrl }, queuePrefix }),
    dataSource: () => Promise.resolve({ ...shopDataSource(databaseUrl), ...CONNECT_ONCE }),
  };
}

/** For people. No secrets. */
export function describePlatform({ databaseUrl, redisUrl }: Environment): string {
  if (databaseUrl === undefined) return 'embedded PostgreSQL and BullMQ';
  return `${databaseUrl.startsWith('mysql:') ? 'MySQL or MariaDB' : 'PostgreSQL'} and BullMQ on ${redisUrl ? 'Redis' : 'the same PostgreSQL'}`;
}
