/** Handlers that wait for what never comes. Pool of one connection: a unit that kept it would stop all others. */
import { DataSource, Entity, PrimaryColumn, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity()
class Item {
  @PrimaryColumn('int')
  id!: number;
}

const STUCK = { code: 'TANDEM_UNIT_OF_WORK_STUCK' };
const never = new Promise<never>(() => undefined);

describe.each(sqlBackends())('a unit in which nothing happens, on $name', (backend) => {
  let database: TestDatabase;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;

  beforeAll(async () => {
    database = await backend.create();
    ds = await (await tandemDataSource({ ...database.dataSourceOptions, entities: [Item], synchronize: true, poolSize: 1 } as DataSourceOptions)).initialize();
    units = new TypeOrmUnitOfWork(ds, new Clock(), { idleTimeoutMs: 300 });
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(() => ds.getRepository(Item).clear());

  const save = (id: number) => ds.getRepository(Item).save({ id });
  const ids = async () => (await ds.getRepository(Item).find({ order: { id: 'ASC' } })).map(({ id }) => id);

  it('a statement begun before transaction() and awaited inside it is told so; nothing is written, and the next unit gets the connection', async () => {
    const run = units.run(async () => {
      const saved = save(1);
      await ds.transaction(async (manager) => {
        await saved;
        await manager.insert(Item, { id: 2 });
      });
    });
    await expect(run).rejects.toThrow(/^A statement that was begun outside of a transaction\(\)/);
    await expect(run).rejects.toMatchObject(STUCK);
    await units.run(() => save(3));
    expect(await ids()).toEqual([3]);
  });

  it('the same for a transaction() that waits for another', async () => {
    const run = units.run(async () => {
      let begin!: () => void;
      const begun = new Promise<void>((resolve) => (begin = resolve));
      const other = begun.then(() => ds.transaction((manager) => manager.insert(Item, { id: 1 })));
      await ds.transaction(async () => {
        begin();
        await other;
      });
    });
    await expect(run).rejects.toMatchObject(STUCK);
    expect(await ids()).toEqual([]);
  });

  it('a handler that catches it commits nothing', async () => {
    const run = units.run(async () => {
      const saved = save(1);
      await ds.transaction(() => saved).catch(() => undefined);
      await save(2).catch(() => undefined);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED', cause: STUCK });
    expect(await ids()).toEqual([]);
  });

  it('a transaction() that nobody waits for, and that does not end', async () => {
    const run = units.run(async () => {
      void ds.transaction(async () => never);
      await save(1);
    });
    await expect(run).rejects.toMatchObject(STUCK);
    expect(await ids()).toEqual([]);
  });

  it.each(['write', 'consumer', 'snapshot'] as const)('a %s unit that waits for something else is left behind, and refuses what still comes of it', async (kind) => {
    let comes!: () => void;
    const something = new Promise<void>((resolve) => (comes = resolve));
    let late!: Promise<unknown>;
    const run = units.run(
      async () => {
        await ids();
        await (late = something.then(() => save(1)));
      },
      { kind },
    );
    await expect(run).rejects.toMatchObject(STUCK);
    expect(units.isTransient(await run.catch((error: unknown) => error))).toBe(false);
    await units.run(() => save(2));
    comes();
    await expect(late).rejects.toMatchObject(STUCK);
    expect(await ids()).toEqual([2]);
  });

  it('a statement that takes long is not idle, nor is a unit that sends one now and then', async () => {
    await units.run(async () => {
      await ds.query(backend.dialect === 'mysql' ? 'select sleep(0.8)' : 'select pg_sleep(0.8)');
      for (let id = 1; id <= 5; id++) {
        await save(id);
        await new Promise((resolve) => setTimeout(resolve, 120));
      }
    });
    expect(await ids()).toEqual([1, 2, 3, 4, 5]);
  });
});
