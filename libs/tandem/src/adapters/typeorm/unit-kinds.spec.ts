/** What the kinds of units are on connections and sessions; how they nest, and what runs around COMMIT, is the port's contract. */
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { currentUnit } from '../../kernel/unit-of-work.js';
import { poolsOf } from './acquire.js';
import { sqlOf, sqlOutside } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

function codeOf(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

describe.each(sqlBackends())('kinds of units on $name', (backend) => {
  let database: TestDatabase;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;

  const source = async (options: object = {}) => (await tandemDataSource({ ...database.dataSourceOptions, ...options } as DataSourceOptions)).initialize();

  beforeAll(async () => {
    database = await backend.create();
    ds = await source();
    await ds.query('create table item (id int primary key)');
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    units = new TypeOrmUnitOfWork(ds, new Clock());
    await ds.query('delete from item');
  });

  const ids = async () => ((await ds.query('select id from item order by id')) as { id: number }[]).map(({ id }) => id);

  it('a snapshot that needs no SQL takes no connection', async () => {
    const narrow = await source({ poolSize: 1 });
    const own = new TypeOrmUnitOfWork(narrow, new Clock());
    poolsOf(narrow).configure({ commandPoolSize: 0, queryPoolSize: 0, workerPoolSize: 0, acquireTimeoutMs: 300 });
    await own.run(async () => {
      expect(await own.outside(() => own.run(async () => 'cached', { kind: 'snapshot' }))).toBe('cached');
      await expect(own.outside(() => own.run(() => narrow.query('select 1'), { kind: 'snapshot' }))).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT' });
    });
    await narrow.destroy();
  });

  it('a snapshot refuses raw statements that write, too', async () => {
    const write = () => sqlOf(currentUnit()!).query('insert into item values (?)', [1]);
    await expect(units.run(write, { kind: 'snapshot' })).rejects.toMatchObject({ code: 'TANDEM_QUERY_WROTE' });
    expect(await ids()).toEqual([]);
  });

  it.runIf(backend.dialect === 'postgres')('a command on a database that takes no writes is told so, and not that it should be a command', async () => {
    const write = async () => {
      await ds.query('set transaction read only');
      await ds.query('insert into item values (1)');
    };
    await expect(units.run(write, { tries: 1 })).rejects.toMatchObject({ message: expect.stringContaining('read-only transaction') as string, code: '25006' });
  });

  it.runIf(backend.name !== 'pglite')('another data source inside a unit is refused, and free outside', async () => {
    const other = await source();
    const otherUnits = new TypeOrmUnitOfWork(other, new Clock());
    for (const use of [() => other.query('select 1'), async () => other.manager.queryRunner, () => otherUnits.run(async () => 1), () => other.transaction(async () => 1)]) {
      await expect(units.run(use)).rejects.toMatchObject({ code: 'TANDEM_OTHER_DATA_SOURCE' });
    }
    expect(await units.run(() => units.outside(() => otherUnits.run(async () => 1)))).toBe(1);
    await other.destroy();
  });

  it('code that outlives its savepoint is not taken for code of the unit', async () => {
    await units.run(async (unit) => {
      let ended!: () => void;
      const end = new Promise<void>((resolve) => (ended = resolve));
      let late!: Promise<unknown>;
      await ds.transaction(async () => void (late = end.then(() => codeOf(() => units.current))));
      ended();
      expect(await late).toBe('TANDEM_UNIT_OF_WORK_CLOSED');
      expect(units.current).toBe(unit);
    });
  });

  it('a connection of the pool has no unit, and cannot be used after it went back', async () => {
    const kept = await sqlOutside(ds, async (sql) => sql);
    await expect(kept.query('select 1')).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
  });

  it('a unit that is closed refuses raw statements', async () => {
    const sql = await units.run(async (unit) => sqlOf(unit));
    await expect(sql.query('select 1')).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
  });
});
