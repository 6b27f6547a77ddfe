/** Kinds of units, how they nest, and what runs around COMMIT. */
import { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { currentUnit } from '../../kernel/unit-of-work.js';
import { poolsOf } from './acquire.js';
import { managerOf, sqlOf, sqlOutside } from './sql.js';
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
  const insert = (id: number) => ds.query(`insert into item values (${id})`);

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

  it('a snapshot refuses writes by the database, with a typed error, also of raw statements', async () => {
    for (const write of [() => insert(1), () => sqlOf(currentUnit()!).query('insert into item values (?)', [1])]) {
      await expect(units.run(write, { kind: 'snapshot' })).rejects.toMatchObject({ code: 'TANDEM_QUERY_WROTE' });
    }
    expect(await ids()).toEqual([]);
  });

  // PGlite has one session: nobody else can write while a transaction is open.
  it.runIf(backend.name !== 'pglite')('a snapshot sees one state, whatever commits meanwhile', async () => {
    const seen = await units.run(
      async () => {
        const before = await ids();
        await units.outside(() => insert(1));
        return [before, await ids(), await managerOf(currentUnit()!).query('select id from item')];
      },
      { kind: 'snapshot' },
    );
    expect(seen).toEqual([[], [], []]);
    expect(await ids()).toEqual([1]);
  });

  it('a snapshot inside a write reads what the write has written', async () => {
    await units.run(async (unit) => {
      await insert(1);
      await units.run(async (same) => expect([same, await ids()]).toEqual([unit, [1]]), { kind: 'snapshot' });
    });
  });

  it('what may not nest is a typed error', async () => {
    const nested = [
      ['snapshot', 'write', 'TANDEM_QUERY_WROTE'],
      ['consumer', 'write', 'TANDEM_EVENT_OUTSIDE_COMMAND'],
      ['write', 'consumer', 'TANDEM_SECOND_CONNECTION'],
      ['snapshot', 'consumer', 'TANDEM_SECOND_CONNECTION'],
    ] as const;
    for (const [outer, inner, code] of nested) {
      await expect(
        units.run(() => units.run(async () => 1, { kind: inner }), { kind: outer }),
        `${inner} in ${outer}`,
      ).rejects.toMatchObject({ code });
    }
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

  it('commit steps run in order, once, before COMMIT, for the outermost write unit only', async () => {
    const order: string[] = [];
    units.beforeCommit(async (unit) => {
      order.push(`first of ${unit.kind}`);
      await sqlOf(unit).query('insert into item values (?)', [100]);
      unit.afterCommit(() => order.push('after'));
    });
    units.beforeCommit(async () => void order.push('second'));
    await units.run(async () => {
      await units.run(() => insert(1));
      order.push('work');
    });
    await units.run(() => ids(), { kind: 'snapshot' });
    await units.run(() => ids(), { kind: 'consumer' });
    expect(order).toEqual(['work', 'first of write', 'second', 'after']);
    expect(await ids()).toEqual([1, 100]);
  });

  it('a commit step that fails undoes the work', async () => {
    units.beforeCommit(async () => Promise.reject(new Error('no room in the log')));
    await expect(units.run(() => insert(1))).rejects.toThrow('no room in the log');
    expect(await ids()).toEqual([]);
  });

  it('tasks after COMMIT run outside the unit; one that fails is logged and undoes nothing', async () => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const ran: unknown[] = [];
    const done = await units.run(async (unit) => {
      await insert(1);
      unit.afterCommit(() => {
        throw new Error('in a task');
      });
      unit.afterCommit((async () => Promise.reject(new Error('in an async task'))) as () => void);
      unit.afterCommit(() => ran.push(currentUnit()));
      return 'done';
    });
    expect([done, ran, await ids()]).toEqual(['done', [undefined], [1]]);
    await vi.waitFor(() => expect(logged).toHaveBeenCalledTimes(2));
    logged.mockRestore();
  });

  it('tasks of a unit that failed never run', async () => {
    const ran: string[] = [];
    const run = units.run(async (unit) => {
      unit.afterCommit(() => ran.push('task'));
      throw new Error('abort');
    });
    await expect(run).rejects.toThrow('abort');
    expect(ran).toEqual([]);
  });

  it.each([
    ['commits', async () => undefined],
    ['fails', async () => Promise.reject(new Error('abort'))],
  ])('a unit that %s takes nothing more from code that outlives it', async (_how, work) => {
    let ended!: () => void;
    const end = new Promise<void>((resolve) => (ended = resolve));
    let late!: Promise<unknown[]>;
    const run = units.run(async (unit) => {
      late = end.then(() => [() => units.current, () => units.require('this'), () => unit.afterCommit(() => undefined)].map(codeOf));
      await insert(1);
      await work();
    });
    await run.catch(() => undefined);
    ended();
    expect(await late).toEqual(['TANDEM_UNIT_OF_WORK_CLOSED', 'TANDEM_UNIT_OF_WORK_CLOSED', 'TANDEM_UNIT_OF_WORK_CLOSED']);
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
