/** Pool of one connection throughout: whatever does not join the unit of work hangs or fails here. */
import { Injectable, Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectDataSource, InjectEntityManager, InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { BaseEntity, Column, DataSource, Entity, EntityManager, ManyToOne, OneToMany, PrimaryColumn, Repository, type DataSourceOptions, type Relation } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { sessionLimits } from '../../../../../test/support/session-limits.js';
import { Clock } from '../../kernel/clock.js';
import { TandemError } from '../../kernel/errors.js';
import { poolsOf } from './acquire.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity()
class Item extends BaseEntity {
  @PrimaryColumn('int') id!: number;
  @Column('int', { default: 0 }) n!: number;
  @OneToMany(() => Part, (part) => part.item, { cascade: true }) parts!: Relation<Part>[];
}
@Entity()
class Part {
  @PrimaryColumn('int') id!: number;
  @ManyToOne(() => Item, (item) => item.parts) item!: Promise<Relation<Item>>;
}
@Entity()
class Late {
  @PrimaryColumn('int') id!: number;
}

@Injectable()
class Items {
  constructor(
    @InjectRepository(Item) readonly repo: Repository<Item>,
    @InjectEntityManager() readonly em: EntityManager,
    @InjectDataSource() readonly ds: DataSource,
  ) {}
}

@Injectable()
class ItemStore extends Repository<Item> {
  constructor(@InjectDataSource() dataSource: DataSource) {
    super(Item, dataSource.createEntityManager());
  }
}

@Injectable()
class ItemShelf extends Repository<Item> {
  constructor(@InjectRepository(Item) items: Repository<Item>) {
    super(items.target, items.manager, items.queryRunner);
  }
}

const code = (error: unknown): unknown => (error instanceof TandemError ? error.code : error);

describe.each(sqlBackends())('unit of work on $name, pool of 1', (backend) => {
  let database: TestDatabase;
  let app: INestApplicationContext;
  let items: Items;
  let units: TypeOrmUnitOfWork;
  const LIST = Symbol('list');

  const extended = () => ({
    bump(this: Repository<Item>, id: number) {
      return this.increment({ id }, 'n', 1);
    },
  });
  let custom: Repository<Item> & ReturnType<typeof extended>;

  beforeAll(async () => {
    database = await backend.create();
    const options = { ...database.dataSourceOptions, entities: [Item, Part, Late], synchronize: true, poolSize: 1 } as DataSourceOptions;
    @Module({
      imports: [TypeOrmModule.forRootAsync({ useFactory: () => options, dataSourceFactory: tandemDataSource }), TypeOrmModule.forFeature([Item])],
      providers: [Items, ItemStore, ItemShelf],
    })
    class ItemsModule {}
    app = await NestFactory.createApplicationContext(ItemsModule, { logger: ['error'] });
    items = app.get(Items);
    units = new TypeOrmUnitOfWork(items.ds, new Clock());
    poolsOf(items.ds).configure({ queryPoolSize: 0, workerPoolSize: 0, acquireTimeoutMs: 700 });
    custom = items.repo.extend(extended());
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
  });
  beforeEach(async () => {
    for (const table of ['part', 'item', 'late']) await items.ds.query(`delete from ${table}`);
    await items.ds.query('insert into item(id, n) values (1, 0)');
  });

  const rows = async (): Promise<number[][]> => ((await items.ds.query('select id, n from item order by id')) as { id: number; n: number }[]).map((row) => [row.id, row.n]);
  const item = (id: number, n = 1) => Object.assign(new Item(), { id, n });
  const withPart = (id: number) => items.repo.save(Object.assign(item(id), { parts: [Object.assign(new Part(), { id: 1 })] }));
  const sleepSql = backend.dialect === 'mysql' ? 'select sleep(0.02)' : 'select pg_sleep(0.02)';
  const limits = sessionLimits(backend);

  const ways: Record<string, () => Promise<unknown>> = {
    '@InjectRepository save': () => items.repo.save({ id: 2, n: 1 }),
    'repository.update': () => items.repo.update(1, { n: 9 }),
    'repository.upsert': () => items.repo.upsert({ id: 2, n: 1 }, ['id']),
    '@InjectEntityManager': () => items.em.insert(Item, { id: 2, n: 1 }),
    'em.query': () => items.em.query('insert into item values (2, 1)'),
    'em.sql': () => items.em.sql`insert into item values (${2}, 1)`,
    'DataSource.manager': () => items.ds.manager.save(Item, { id: 2, n: 1 }),
    'DataSource.getRepository': () => items.ds.getRepository(Item).insert({ id: 2, n: 1 }),
    'DataSource.query': () => items.ds.query('insert into item values (2, 1)'),
    'DataSource.sql': () => items.ds.sql`insert into item values (${2}, 1)`,
    'DataSource.createQueryBuilder': () => items.ds.createQueryBuilder().insert().into(Item).values({ id: 2, n: 1 }).execute(),
    'DataSource.createQueryBuilder of an entity': () => items.ds.createQueryBuilder(Item, 'i').update().set({ n: 5 }).where('id = 1').execute(),
    'repository.createQueryBuilder': () => items.repo.createQueryBuilder('i').update().set({ n: 5 }).where('id = 1').execute(),
    'BaseEntity static': () => Item.insert({ id: 2, n: 1 }),
    'BaseEntity instance': () => item(2).save(),
    'custom repository': () => custom.bump(1),
    'a repository class on createEntityManager()': () => app.get(ItemStore).insert({ id: 2, n: 1 }),
    'save() of a repository class on createEntityManager()': () => app.get(ItemStore).save({ id: 2, n: 1 }),
    'a query builder of a repository class on createEntityManager()': () => app.get(ItemStore).createQueryBuilder().update().set({ n: 5 }).where('id = 1').execute(),
    'a transaction of a repository class on createEntityManager()': () => app.get(ItemStore).manager.transaction((manager) => manager.insert(Item, { id: 2, n: 1 })),
    'a repository class on an injected repository': () => app.get(ItemShelf).insert({ id: 2, n: 1 }),
    'new Repository() on the injected manager': () => new Repository(Item, items.em).insert({ id: 2, n: 1 }),
    'createEntityManager() inside the unit': () => items.ds.createEntityManager().insert(Item, { id: 2, n: 1 }),
    'insert() of new EntityManager()': () => new EntityManager(items.ds).insert(Item, { id: 2, n: 1 }),
    'em.withRepository': () => items.em.withRepository(custom).increment({ id: 1 }, 'n', 1),
    'DataSource.transaction': () => items.ds.transaction((manager) => manager.insert(Item, { id: 2, n: 1 })),
    'em.transaction': () => items.em.transaction((manager) => manager.getRepository(Item).insert({ id: 2, n: 1 })),
    'transaction inside a transaction': () => items.em.transaction((manager) => manager.transaction((inner) => inner.insert(Item, { id: 2, n: 1 }))),
    'transaction with an isolation level': () => items.repo.manager.transaction('SERIALIZABLE', (manager) => manager.insert(Item, { id: 2, n: 1 })),
    remove: async () => items.repo.remove(await items.repo.findOneByOrFail({ id: 1 })),
    cascade: () => withPart(3),
    preload: async () => items.repo.save((await items.repo.preload({ id: 1, n: 7 }))!),
  };

  it.each(Object.keys(ways))('%s joins: it sees its own write and is rolled back with the unit', async (way) => {
    const run = units.run(async () => {
      await ways[way]!();
      expect((await items.repo.find({ order: { id: 'ASC' } })).map((row) => [row.id, row.n])).not.toEqual([[1, 0]]);
      throw new Error('abort');
    });
    await expect(run).rejects.toThrow('abort');
    expect(await rows()).toEqual([[1, 0]]);
  });

  it('runs READ COMMITTED', async () => {
    await units.run(async () => expect(await items.ds.query(`select ${limits.columns}`)).toMatchObject([{ isolation: limits.expected.isolation }]));
  });

  const reads: Record<string, () => Promise<unknown>> = {
    find: () => items.repo.findBy({ id: 2 }).then(([found]) => found?.id),
    findOne: () => items.repo.findOne({ where: { id: 2 } }).then((found) => found?.id),
    findOneByOrFail: () => items.repo.findOneByOrFail({ id: 2 }).then(({ id }) => id),
    findAndCount: () => items.repo.findAndCount({ where: { id: 2 } }).then(([, count]) => count * 2),
    exists: () => items.repo.existsBy({ id: 2 }).then((is) => is && 2),
    maximum: () => items.repo.maximum('id'),
    'em.find': () => items.em.findOneBy(Item, { id: 2 }).then((found) => found?.id),
    'BaseEntity.findOneBy': () => Item.findOneBy({ id: 2 }).then((found) => found?.id),
    getMany: () =>
      items.repo
        .createQueryBuilder('i')
        .where('i.id = 2')
        .getMany()
        .then(([found]) => found?.id),
    getRawOne: () => items.ds.createQueryBuilder().select('i.id', 'id').from(Item, 'i').where('i.id = 2').getRawOne<Item>().then((found) => found?.id), // prettier-ignore
    'a stream of a query builder': () => items.repo.createQueryBuilder('i').where('i.id = 2').stream().then(idOfStream),
    'a stream of DataSource.createQueryBuilder': () => items.ds.createQueryBuilder(Item, 'i').where('i.id = 2').stream().then(idOfStream),
    'a stream of a repository class': () => app.get(ItemStore).createQueryBuilder('i').where('i.id = 2').stream().then(idOfStream),
    'the runner of the manager': () => items.em.queryRunner!.query('select id from item where id = 2').then(([row]: { id: number }[]) => row?.id),
  };
  const idOfStream = async (stream: AsyncIterable<unknown>) => {
    let id: unknown;
    for await (const row of stream) id = (row as { i_id: unknown }).i_id;
    return id;
  };

  it.each(Object.keys(reads))('%s reads what the unit has written and nobody else sees', async (way) => {
    const run = units.run(async () => {
      await items.em.query('insert into item values (2, 1)');
      expect(Number(await reads[way]!())).toBe(2);
      throw new Error('abort');
    });
    await expect(run).rejects.toThrow('abort');
    expect(await rows()).toEqual([[1, 0]]);
  });

  /** What is made outside of a unit, and then used inside. */
  const refused: Record<string, () => { readonly use: () => Promise<unknown>; readonly end?: () => Promise<unknown> }> = {
    'DataSource.createQueryRunner': () => ({ use: async () => items.ds.createQueryRunner() }),
    'a query builder from outside': () => {
      const builder = items.repo.createQueryBuilder('i');
      return { use: () => builder.getMany() };
    },
    'a stream of a query builder from outside': () => {
      const builder = items.repo.createQueryBuilder('i');
      return { use: () => builder.stream() };
    },
    'a query runner from outside': () => {
      const runner = items.ds.createQueryRunner();
      return { use: () => runner.query('insert into item values (2, 1)'), end: () => runner.release() };
    },
    'startTransaction() of a query runner from outside': () => {
      const runner = items.ds.createQueryRunner();
      return { use: () => runner.startTransaction(), end: () => runner.release() };
    },
    'stream() of a query runner from outside': () => {
      const runner = items.ds.createQueryRunner();
      return { use: () => runner.stream('select 1'), end: () => runner.release() };
    },
    'the manager of a query runner from outside': () => {
      const runner = items.ds.createQueryRunner();
      return { use: () => runner.manager.insert(Item, { id: 2, n: 1 }), end: () => runner.release() };
    },
    'save() of new EntityManager()': () => {
      const manager = new EntityManager(items.ds);
      return { use: () => manager.save(Item, { id: 2, n: 1 }) };
    },
  };

  it.each(Object.keys(refused))('%s is refused at once, and told what to use instead', async (way) => {
    const { use, end } = refused[way]!();
    const run = units.run(use);
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_SECOND_CONNECTION' });
    await expect(run).rejects.toThrow('Use the injected repository or EntityManager, or run the code with `unitOfWork.outside(() => …)`.');
    await end?.();
    expect(await rows()).toEqual([[1, 0]]);
  });

  it('does not give its connection away to manager.release()', async () => {
    await units.run(async () => {
      await items.em.release();
      await items.repo.update(1, { n: 2 });
    });
    expect(await rows()).toEqual([[1, 2]]);
  });

  it('a repository first asked for inside a unit works afterwards', async () => {
    await units.run(() => items.ds.getRepository(Late).save({ id: 1 }));
    expect(await items.ds.getRepository(Late).count()).toBe(1);
  });

  it('a lazy relation can be read after the unit', async () => {
    await units.run(() => withPart(3));
    const part = await units.run(() => items.ds.getRepository(Part).findOneByOrFail({ id: 1 }));
    expect((await part.item).id).toBe(3);
  });

  it('Promise.all in a handler shares the transaction', async () => {
    const run = units.run(async () => {
      await Promise.all(Array.from({ length: 20 }, (_, i) => items.repo.insert({ id: 10 + i, n: 0 })));
      throw new Error('abort');
    });
    await expect(run).rejects.toThrow('abort');
    expect(await rows()).toEqual([[1, 0]]);
  });

  it('of Promise.all one fails: its siblings get a typed error and nothing is written', async () => {
    let sibling: unknown;
    const others = async () => {
      for (let i = 0; i < 50; i++) await items.repo.insert({ id: 100 + i, n: 0 });
    };
    const run = units.run(() => Promise.all([items.repo.insert({ id: 1, n: 0 }), others().catch((error: unknown) => (sibling = error))]));
    await expect(run).rejects.toThrow(/duplicate/i);
    await vi.waitFor(() => expect(sibling).toBeDefined());
    // PostgreSQL may have refused it already, because the first error ended the transaction.
    expect(['TANDEM_UNIT_OF_WORK_CLOSED', 'TANDEM_UNIT_OF_WORK_DOOMED']).toContain(code(sibling));
    expect(await rows()).toEqual([[1, 0]]);
  });

  it.each([0, 4, 9])('of ten statements at once number %i fails and all are waited for: what PostgreSQL cannot commit whole it does not commit', async (failing) => {
    let outcomes: PromiseSettledResult<unknown>[] = [];
    const run = units.run(async () => {
      outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, (_, i) => (i % 2 ? items.repo : items.em.getRepository(Item)).insert({ id: i === failing ? 1 : 100 + i, n: 0 })),
      );
    });
    if (backend.dialect === 'mysql') {
      await run;
      expect(await rows()).toHaveLength(10);
    } else {
      await expect(run).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED', cause: { driverError: { code: '23505' } } });
      expect(await rows()).toEqual([[1, 0]]);
    }
    const after = outcomes.slice(failing + 1).map((outcome) => (outcome.status === 'rejected' ? code(outcome.reason) : 'written'));
    expect(new Set(after)).toEqual(new Set(failing === 9 ? [] : [backend.dialect === 'mysql' ? 'written' : 'TANDEM_UNIT_OF_WORK_DOOMED']));
  });

  it('nested transactions at once: one fails, the others stay', async () => {
    await units.run(() =>
      Promise.allSettled([
        items.ds.transaction(async (manager) => {
          await manager.insert(Item, { id: 2, n: 1 });
          await manager.query(sleepSql);
        }),
        items.ds.transaction(async (manager) => {
          await manager.insert(Item, { id: 3, n: 1 });
          throw new Error('x');
        }),
        items.ds.transaction((manager) => manager.insert(Item, { id: 5, n: 1 })),
        items.repo.insert({ id: 4, n: 1 }),
      ]),
    );
    expect(await rows()).toEqual([[1, 0], [2, 1], [4, 1], [5, 1]]); // prettier-ignore
  });

  it('transactions at once inside a transaction keep apart as well', async () => {
    await units.run(() =>
      items.ds.transaction((outer) =>
        Promise.allSettled([
          outer.transaction(async (manager) => {
            await manager.insert(Item, { id: 2, n: 1 });
            await manager.query(sleepSql);
          }),
          outer.transaction(async (manager) => {
            await manager.insert(Item, { id: 3, n: 1 });
            throw new Error('x');
          }),
        ]),
      ),
    );
    expect(await rows()).toEqual([[1, 0], [2, 1]]); // prettier-ignore
  });

  it('a transaction() that is rolled back takes along what was added inside it, and nothing that was added beside it', async () => {
    await units.run(async (unit) => {
      unit.add(LIST, 'before');
      const failing = items.ds.transaction(async (manager) => {
        unit.add(LIST, 'inside');
        await manager.transaction(async () => unit.add(LIST, 'further inside'));
        await manager.query(sleepSql);
        throw new Error('inner');
      });
      unit.add(LIST, 'beside');
      await expect(failing).rejects.toThrow('inner');
      await items.ds.transaction(async () => unit.add(LIST, 'in another'));
      expect(unit.listOf(LIST)).toEqual(['before', 'beside', 'in another']);
    });
  });

  it('a timer that outlives the unit gets a typed error; outside() works', async () => {
    let late: unknown;
    let outside: unknown;
    await units.run(async () => {
      setTimeout(() => void items.repo.count().catch((error: unknown) => (late = error)), 20);
      setTimeout(() => void units.outside(() => items.repo.count()).then((count) => (outside = count)), 20);
    });
    await vi.waitFor(() => expect([late, outside]).not.toContain(undefined));
    expect([code(late), outside]).toEqual(['TANDEM_UNIT_OF_WORK_CLOSED', 1]);
  });

  it('a stream is read to its end; a query in between is a typed error, not a hang', async () => {
    const values = Array.from({ length: 2_001 }, (_, i) => `(${1_000 + i}, 0)`).join(',');
    await items.ds.query(`insert into item(id, n) values ${values}`);
    const stream = () => items.repo.createQueryBuilder('i').stream();

    const counts = await units.run(async () => {
      let read = 0;
      for await (const _row of await stream()) read++;
      return [read, await items.repo.count()];
    });
    expect(counts).toEqual([2_002, 2_002]);

    const between = units.run(async () => {
      for await (const _row of await stream()) await items.repo.count();
    });
    await expect(between).rejects.toMatchObject({ code: 'TANDEM_STREAM_OPEN' });
    await expect(units.run(async () => void (await stream()))).rejects.toMatchObject({ code: 'TANDEM_STREAM_OPEN' });

    const brokenOff = units.run(async () => {
      for await (const _row of await stream()) break;
      return items.repo.count();
    });
    expect(await brokenOff).toBe(2_002);
  });

  it('gives up waiting for a connection', async () => {
    let free!: () => void;
    const begun = new Promise<void>((isBegun) => {
      void units.run(() => (isBegun(), new Promise<void>((resolve) => (free = resolve))));
    });
    await begun;
    await expect(units.run(async () => 1)).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT' });
    free();
    expect(await units.run(() => items.repo.count())).toBe(1);
  });

  it('20 units at once take turns on the only connection', async () => {
    poolsOf(items.ds).configure({ acquireTimeoutMs: 5_000 });
    await Promise.all(Array.from({ length: 20 }, () => units.run(() => items.repo.increment({ id: 1 }, 'n', 1))));
    expect(await rows()).toEqual([[1, 20]]);
  });

  it('save() makes its own SELECT inside the unit', async () => {
    await units.run(async () => {
      const found = await items.repo.findOneByOrFail({ id: 1 });
      found.n = 8;
      await items.repo.save(found);
    });
    expect(await rows()).toEqual([[1, 8]]);
  });
});
