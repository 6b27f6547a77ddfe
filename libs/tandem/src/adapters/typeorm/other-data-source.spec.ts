/** An application with several data sources: what is used of another one inside a unit of work is refused, not quietly committed by itself. */
import { type INestApplicationContext, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { getDataSourceToken, getRepositoryToken, InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { BaseEntity, DataSource, type DataSourceOptions, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { describeServers, sqlServers, type SqlBackend, type TestDatabase } from '../../../../../test/support/backends.js';
import { memoryAdapters } from '../../../../../test/support/memory-adapters.js';
import { DomainEvent } from '../../events/domain-event.js';
import { DurableJobs } from '../../jobs/durable-jobs.js';
import { QueuedCommand } from '../../jobs/queued-command.js';
import { afterCommit } from '../../kernel/after-commit.js';
import { UnitOfWork as Units } from '../../kernel/unit-of-work.js';
import { TandemModule } from '../../tandem.module.js';
import { UnitOfWork } from '../../write/command/unit-of-work.decorator.js';
import { tandemDataSource } from './tandem-data-source.js';
import { tandemMigrations } from './migrations/tandem-migrations.js';
import { typeOrmStorage, type TypeOrmStorageOptions } from './typeorm-storage.js';

@Entity()
class Account {
  @PrimaryColumn('int') id!: number;
}
@Entity()
class Report extends BaseEntity {
  @PrimaryColumn('int') id!: number;
}
@Entity()
class Entry extends BaseEntity {
  @PrimaryColumn('int') id!: number;
}

@DomainEvent('spec.happened', { version: 1, stream: () => ['spec', '1'] })
class Happened {}

/** Runs what a test gives it, in the unit of its handler. */
class Do extends Command<unknown> {
  constructor(readonly work: () => unknown) {
    super();
  }
}
class DoInLedger extends Do {}

@CommandHandler(Do)
class DoHandler implements ICommandHandler<Do> {
  async execute({ work }: Do): Promise<unknown> {
    return work();
  }
}
@CommandHandler(DoInLedger)
@UnitOfWork({ dataSource: 'ledger', tries: 2 })
class DoInLedgerHandler implements ICommandHandler<DoInLedger> {
  constructor(@InjectRepository(Entry, 'ledger') readonly entries: Repository<Entry>) {}
  async execute({ work }: DoInLedger): Promise<unknown> {
    await this.entries.insert({ id: 1 });
    return work();
  }
}

@QueuedCommand('spec.later', { queue: 'spec', effect: 'sql' })
class Later extends Command<void> {}
@CommandHandler(Later)
class LaterHandler implements ICommandHandler<Later> {
  async execute(): Promise<void> {}
}

const REFUSED = { code: 'TANDEM_OTHER_DATA_SOURCE' };

async function start(database: TestDatabase, storage: TypeOrmStorageOptions, handlers: Type[]): Promise<INestApplicationContext> {
  const options = (entities: Type[], more = {}): DataSourceOptions => ({ ...database.dataSourceOptions, entities, poolSize: 3, ...more }) as DataSourceOptions;
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: () => options([Account], { migrations: tandemMigrations(), migrationsRun: true }), dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forRootAsync({ name: 'reports', useFactory: () => options([Report]) }),
      TypeOrmModule.forRootAsync({ name: 'ledger', useFactory: () => options([Entry]), dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature([Account]),
      TypeOrmModule.forFeature([Report], 'reports'),
      TypeOrmModule.forFeature([Entry], 'ledger'),
      TandemModule.forRoot({ storage: typeOrmStorage({ queryPoolSize: 0, workerPoolSize: 0, ...storage }), jobs: memoryAdapters().jobs, interceptors: [], role: 'api' }),
    ],
    providers: handlers,
  })
  class SpecModule {}
  return NestFactory.createApplicationContext(SpecModule, { logger: false, abortOnError: false });
}

const all: Type[] = [DoHandler, DoInLedgerHandler, LaterHandler];

async function tables(backend: SqlBackend): Promise<TestDatabase> {
  const database = await backend.create();
  const ds = await new DataSource({ ...database.dataSourceOptions }).initialize();
  for (const table of ['account', 'report', 'entry']) await ds.query(`create table ${table} (id int primary key)`);
  await ds.destroy();
  return database;
}

describeServers('several data sources on $name', sqlServers(), (backend) => {
  let database: TestDatabase;
  let app: INestApplicationContext;
  let commands: CommandBus;

  const repository = <T extends object>(entity: Type<T>, name?: string) => app.get<Repository<T>>(getRepositoryToken(entity, name));
  const inUnit = (work: () => unknown) => commands.execute(new Do(work));
  const inLedger = (work: () => unknown) => commands.execute(new DoInLedger(work));
  const rows = async () => {
    const found = await Promise.all([repository(Account).find(), repository(Report, 'reports').find(), repository(Entry, 'ledger').find()]);
    return found.map((list) => list.map(({ id }) => id));
  };

  beforeAll(async () => {
    database = await tables(backend);
    app = await start(database, {}, all);
    commands = app.get(CommandBus);
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
  });
  beforeEach(async () => {
    const ds = app.get(DataSource);
    for (const table of ['account', 'report', 'entry']) await ds.query(`delete from ${table}`);
  });

  const ways: Readonly<Record<string, (ds: DataSource, entity: typeof Report | typeof Entry) => unknown>> = {
    'repository.save': (ds, entity) => ds.getRepository(entity).save({ id: 2 }),
    'repository.find': (ds, entity) => ds.getRepository(entity).find(),
    'repository.createQueryBuilder': (ds, entity) => ds.getRepository(entity).createQueryBuilder().insert().values({ id: 2 }).execute(),
    'BaseEntity static': (_ds, entity) => entity.insert({ id: 2 }),
    'manager.query': (ds, entity) => ds.manager.query(`insert into ${entity.name.toLowerCase()} values (2)`),
    'manager.transaction': (ds, entity) => ds.manager.transaction((manager) => manager.insert(entity, { id: 2 })),
    'DataSource.transaction': (ds, entity) => ds.transaction((manager) => manager.insert(entity, { id: 2 })),
    'DataSource.query': (ds, entity) => ds.query(`insert into ${entity.name.toLowerCase()} values (2)`),
    'DataSource.createQueryBuilder': (ds, entity) => ds.createQueryBuilder().insert().into(entity).values({ id: 2 }).execute(),
    'DataSource.createQueryRunner': (ds) => ds.createQueryRunner().query('select 1'),
  };

  describe.each([
    ['reports', 'made by TypeORM alone', Report],
    ['ledger', 'made by tandemDataSource', Entry],
  ] as const)('%s, %s', (name, _how, entity) => {
    it.each(Object.keys(ways))('%s is refused inside a unit of work and says what to write instead', async (way) => {
      const use = () => ways[way]!(app.get<DataSource>(getDataSourceToken(name)), entity);
      const run = inUnit(async () => {
        await repository(Account).insert({ id: 1 });
        await use();
      });
      await expect(run).rejects.toMatchObject(REFUSED);
      await expect(run).rejects.toThrow(`The data source "${name}" was used inside a unit of work on "default", and would not commit with it. Do it in a queued command`);
      expect(await rows()).toEqual([[], [], []]);
      await inUnit(() => app.get(Units).outside(use));
    });

    it('works outside of one as ever', async () => {
      const used = repository<Report | Entry>(entity, name);
      await used.save({ id: 3 } as Report);
      expect(await used.count()).toBe(1);
    });
  });

  it('a handler that asks for it runs in a unit of the other data source, with retries, savepoints and tasks after COMMIT', async () => {
    const done: string[] = [];
    await inLedger(async () => {
      afterCommit(() => done.push('after'));
      await Entry.insert({ id: 2 });
      await app.get<DataSource>(getDataSourceToken('ledger')).transaction((manager) => manager.insert(Entry, { id: 3 }));
      await Entry.insert({ id: 4 });
      expect(done).toEqual([]);
    });
    expect([await rows(), done]).toEqual([[[], [], [1, 2, 3, 4]], ['after']]); // prettier-ignore
    const failing = inLedger(async () => {
      await Entry.insert({ id: 5 });
      throw new Error('abort');
    });
    await expect(failing).rejects.toThrow();
    expect((await rows())[2]).toEqual([1, 2, 3, 4]);
  });

  it.each<[string, () => unknown]>([
    ['an event is published', () => app.get(EventBus).publish(new Happened())],
    ['a job is queued', () => app.get(DurableJobs).enqueue(new Later())],
    ['a repository of the default data source is used', () => repository(Account).insert({ id: 1 })],
    ['a command on the default data source is executed', () => inUnit(() => undefined)],
    ['a repository of a third data source is used', () => repository(Report, 'reports').insert({ id: 1 })],
  ])('in such a unit it is refused when %s', async (_what, use) => {
    await expect(inLedger(use)).rejects.toMatchObject(REFUSED);
    expect(await rows()).toEqual([[], [], []]);
  });

  it('in a unit of the default data source a command on the other one is refused', async () => {
    await expect(inUnit(() => inLedger(() => undefined))).rejects.toMatchObject(REFUSED);
    expect(await rows()).toEqual([[], [], []]);
  });

  it('those that may be used all the same commit by themselves', async () => {
    const own = await start(database, { notAtomicDataSources: ['reports', 'ledger'] }, all);
    try {
      const run = own.get(CommandBus).execute(
        new Do(async () => {
          await own.get<Repository<Account>>(getRepositoryToken(Account)).insert({ id: 1 });
          await own.get<Repository<Report>>(getRepositoryToken(Report, 'reports')).insert({ id: 2 });
          await own.get<DataSource>(getDataSourceToken('ledger')).transaction((manager) => manager.insert(Entry, { id: 3 }));
          throw new Error('abort');
        }),
      );
      await expect(run).rejects.toThrow('abort');
      expect(await rows()).toEqual([[], [2], [3]]);
      await expect(own.get(CommandBus).execute(new Do(() => own.get(CommandBus).execute(new DoInLedger(() => undefined))))).rejects.toMatchObject(REFUSED);
    } finally {
      await own.close();
    }
  });

  it('a name that no data source has, or that of one which units cannot run on, refuses the start', async () => {
    await expect(start(database, { notAtomicDataSources: ['reprots'] }, all)).rejects.toThrow('there is no data source "reprots", only "default", "reports", "ledger"');

    class DoInReports extends Do {}
    @CommandHandler(DoInReports)
    @UnitOfWork({ dataSource: 'reports' })
    class DoInReportsHandler extends DoHandler {}
    await expect(start(database, {}, [DoInReportsHandler])).rejects.toThrow(
      '@UnitOfWork on DoInReportsHandler (SpecModule): the data source "reports" was not made by tandemDataSource',
    );

    @CommandHandler(Later)
    @UnitOfWork({ dataSource: 'ledger' })
    class LaterInLedgerHandler extends LaterHandler {}
    await expect(start(database, {}, [LaterInLedgerHandler])).rejects.toThrow("Later is queued with effect 'sql', but LaterInLedgerHandler (SpecModule) runs on the data source");
  });
});
