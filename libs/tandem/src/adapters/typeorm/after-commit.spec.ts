/** Tasks after COMMIT: once, after the outermost one, and without a say in it. */
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { afterCommit } from '../../kernel/after-commit.js';
import { Clock } from '../../kernel/clock.js';
import { currentUnit } from '../../kernel/unit-of-work.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

describe.each(sqlBackends())('afterCommit on $name', (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;
  let done: string[];
  const task = (name: string) => () => void done.push(name);

  beforeAll(async () => {
    database = await backend.create();
    ds = await (await tandemDataSource({ ...database.dataSourceOptions })).initialize();
    units = new TypeOrmUnitOfWork(ds, new Clock());
    await ds.query('create table item (id int primary key)');
    if (!isMysql) await ds.query('create table child (item_id int references item(id) deferrable initially deferred)');
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    done = [];
    await ds.query('delete from item');
  });
  afterEach(() => vi.restoreAllMocks());

  const ids = async () => ((await ds.query('select id from item order by id')) as { id: number }[]).map(({ id }) => id);
  const insert = (id: number) => ds.query(`insert into item values (${id})`);
  const deadlock = () => ds.query(isMysql ? "signal sqlstate 'HY000' set mysql_errno = 1213" : "do $$ begin raise exception 'provoked' using errcode = '40P01'; end $$");

  it('runs after the outermost COMMIT, in order, not when a transaction inside ends', async () => {
    await units.run(async () => {
      afterCommit(task('outer'));
      await ds.transaction(async (manager) => {
        await manager.transaction(async () => afterCommit(task('innermost')));
        afterCommit(task('inner'));
        await insert(1);
      });
      await units.run(async () => afterCommit(task('unit in a unit')));
      expect(done).toEqual([]);
    });
    expect(done).toEqual(['outer', 'innermost', 'inner', 'unit in a unit']);
  });

  it('what it reads is committed, and it runs in no unit', async () => {
    let seen: unknown;
    await units.run(async () => {
      await insert(1);
      afterCommit(async () => {
        seen = [currentUnit(), await units.run(() => ids())];
      });
    });
    await vi.waitFor(() => expect(seen).toEqual([undefined, [1]]));
  });

  it('a savepoint that is rolled back takes its tasks along', async () => {
    await units.run(async () => {
      await ds
        .transaction(async () => {
          afterCommit(task('undone'));
          throw new Error('x');
        })
        .catch(() => undefined);
      afterCommit(task('stays'));
    });
    expect(done).toEqual(['stays']);
  });

  it('runs once although the work ran three times', async () => {
    await units.run(async (unit) => {
      afterCommit(task(`attempt ${unit.attempt}`));
      if (unit.attempt < 3) await deadlock().catch(() => undefined);
    });
    expect(done).toEqual(['attempt 3']);
  });

  it('does not run when the work fails', async () => {
    const run = units.run(async () => {
      afterCommit(task('never'));
      throw new Error('abort');
    });
    await expect(run).rejects.toThrow('abort');
    expect(done).toEqual([]);
  });

  it.runIf(!isMysql)('does not run when COMMIT fails', async () => {
    const run = units.run(async () => {
      afterCommit(task('never'));
      await ds.query('insert into child values (99)');
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_COMMIT_FAILED' });
    expect(done).toEqual([]);
  });

  it.each<[string, () => void | Promise<void>]>([
    ['throws', () => thrower()],
    ['rejects', async () => thrower()],
  ])('one that %s is logged and undoes nothing; the others run', async (_how, failing) => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const answer = await units.run(async () => {
      await insert(1);
      afterCommit(failing);
      afterCommit(task('next'));
      return 'answer';
    });
    expect([answer, done, await ids()]).toEqual(['answer', ['next'], [1]]);
    await vi.waitFor(() => expect(logged).toHaveBeenCalledWith(expect.stringContaining('after COMMIT failed'), expect.stringContaining('in a task')));
  });

  it('outside of a unit of work it is a typed error, and so is code that outlived its unit', async () => {
    expect(() => afterCommit(task('never'))).toThrow(expect.objectContaining({ code: 'TANDEM_UNIT_OF_WORK_REQUIRED' }));
    let late!: Promise<unknown>;
    let ended!: () => void;
    const end = new Promise<void>((resolve) => (ended = resolve));
    await units.run(async () => void (late = end.then(() => afterCommit(task('never')))));
    ended();
    await expect(late).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
    expect(done).toEqual([]);
  });
});

function thrower(): never {
  throw new Error('in a task');
}
