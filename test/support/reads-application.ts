/** The bank with its read side in a data source of its own. */
import { type INestApplicationContext, Injectable, Module, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus, type IQueryHandler, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { getDataSourceToken, InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { Column, type DataSource, type DataSourceOptions, Entity, type EntityManager, PrimaryGeneratedColumn, type Repository } from 'typeorm';
import { CacheResult, type EventMetadata, On, Projection, Reads, TandemModule, type TandemSettings } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandem } from 'nest-tandem/testing';
import { tandemDataSource, tandemMigrations, typeOrmStorage, type TypeOrmStorageOptions } from 'nest-tandem/typeorm';
import {
  Account,
  AccountView,
  bankProviders,
  Charged,
  Directory,
  DirectoryProjection,
  Faults,
  GetAccount,
  GetAccountHandler,
  GetDirectoryHandler,
  Letter,
  Opened,
  Totals,
} from './bank.js';

export const READS = 'reads';

/** One line for each event: a second effect would be a second line. */
@Entity('bank_journal')
export class JournalLine {
  @PrimaryGeneratedColumn() id!: number;
  @Column('varchar', { length: 60 }) accountId!: string;
}

/** What happens between the statements of a batch on the read side and its COMMIT. */
@Injectable()
export class BeforeCommit {
  hook: (accountId: string) => Promise<unknown> = () => Promise.resolve();
}

@Projection('bank.journal', { version: 1, tables: [JournalLine] })
export class JournalProjection {
  constructor(private readonly before: BeforeCommit) {}
  @On(Opened)
  @On(Charged)
  async line({ accountId }: Opened | Charged, _metadata: EventMetadata, manager: EntityManager) {
    await manager.insert(JournalLine, { accountId });
    await this.before.hook(accountId);
  }
}

@QueryHandler(GetAccount)
@Reads(AccountView)
@CacheResult()
export class GetAccountOfReads implements IQueryHandler<GetAccount> {
  constructor(@InjectRepository(AccountView, READS) private readonly views: Repository<AccountView>) {}
  execute({ accountId }: GetAccount): Promise<AccountView | null> {
    return this.views.findOneBy({ id: accountId });
  }
}

/** Plain data: also given to a process of its own. */
export interface ReadsPlace {
  readonly log: DataSourceOptions;
  readonly reads: DataSourceOptions;
  readonly jobs: string | { readonly postgres: string };
  readonly queuePrefix: string;
}

export interface ReadsBank {
  readonly app: INestApplicationContext;
  readonly commands: CommandBus;
  readonly queries: QueryBus;
  readonly faults: Faults;
  readonly before: BeforeCommit;
  readonly log: DataSource;
  readonly reads: DataSource;
  idle(timeoutMs?: number): Promise<void>;
}

export interface ReadsOptions extends TandemSettings {
  readonly providers?: readonly Provider[];
  readonly storage?: TypeOrmStorageOptions;
  readonly migrateReads?: boolean;
}

const LEFT_OUT: readonly unknown[] = [DirectoryProjection, GetDirectoryHandler, GetAccountHandler];

export async function startReadsBank(place: ReadsPlace, { providers = [], storage = {}, migrateReads = true, ...settings }: ReadsOptions = {}): Promise<ReadsBank> {
  const options = (server: DataSourceOptions, entities: Type[], migrate = true) =>
    ({ ...server, poolSize: 4, entities, migrations: tandemMigrations(), migrationsRun: migrate, synchronize: migrate }) as unknown as DataSourceOptions;
  const ofLog = [Account, Letter];
  const ofReads = [AccountView, Totals, Directory, JournalLine];

  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: () => options(place.log, ofLog), dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forRootAsync({ name: READS, useFactory: () => options(place.reads, ofReads, migrateReads), dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(ofLog),
      TypeOrmModule.forFeature(ofReads, READS),
      TandemModule.forRoot({
        storage: typeOrmStorage({ readDataSource: READS, queryPoolSize: 2, workerPoolSize: 4, ...storage }),
        jobs: bullMqJobs({ connection: place.jobs, queuePrefix: place.queuePrefix }),
        ...{ interceptors: [], reconcileEveryMs: 200, consumerBackoffMs: 10, ...settings },
      }),
    ],
    providers: [...bankProviders.filter((provider) => !LEFT_OUT.includes(provider)), BeforeCommit, JournalProjection, GetAccountOfReads, ...providers],
  })
  class ReadsModule {}

  const app = await NestFactory.createApplicationContext(ReadsModule, { logger: false, abortOnError: false });
  return {
    app,
    commands: app.get(CommandBus),
    queries: app.get(QueryBus),
    faults: app.get(Faults),
    before: app.get(BeforeCommit),
    log: app.get(getDataSourceToken() as string),
    reads: app.get(getDataSourceToken(READS) as string),
    idle: (timeoutMs = 30_000) => tandem(app).idle({ timeoutMs }),
  };
}
