/** Savepoints made by hand: what the database undoes, the unit's lists (events, tasks after COMMIT) lose too, and nothing else. */
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

const LIST = Symbol('list');

describe.each(sqlBackends())('savepoints made by hand on $name', (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;

  beforeAll(async () => {
    database = await backend.create();
    ds = await (await tandemDataSource({ ...database.dataSourceOptions })).initialize();
    units = new TypeOrmUnitOfWork(ds, new Clock());
    await ds.query('create table item (id int primary key)');
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(() => ds.query('delete from item'));

  const ids = async () => ((await ds.query('select id from item order by id')) as { id: number }[]).map(({ id }) => id);
  /** A row, and a list entry that must share its fate. */
  const write = async (id: number) => {
    units.require('the spec').add(LIST, id);
    await ds.query(`insert into item values (${id})`);
  };
  /** The rows after COMMIT, when the unit's list is the same. */
  const outcome = async (work: (unit: Unit) => Promise<unknown>) => {
    const list = await units.run(async (unit) => {
      await work(unit);
      return unit.listOf(LIST);
    });
    const rows = await ids();
    expect(list).toEqual(rows);
    return rows;
  };

  it('queryRunner.startTransaction() and rollbackTransaction()', async () => {
    const rows = await outcome(async () => {
      const runner = ds.manager.queryRunner!;
      await write(1);
      await runner.startTransaction();
      await write(2);
      await runner.rollbackTransaction();
      await runner.startTransaction();
      await write(3);
      await ds.transaction(() => write(4));
      await runner.commitTransaction();
      await write(5);
    });
    expect(rows).toEqual([1, 3, 4, 5]);
  });

  it.each(['ROLLBACK TO SAVEPOINT mine', 'rollback to Mine;', '  -- now\n ROLLBACK WORK TO mine', isMysql ? 'rollback to `mine`' : 'rollback transaction to "mine"'])(
    '%s',
    async (back) => {
      const rows = await outcome(async () => {
        await write(1);
        await ds.query('SAVEPOINT mine');
        await write(2);
        await units.run(() => write(3));
        await ds.query(back);
        await write(4);
        await ds.query(back);
        await write(5);
        await ds.query('RELEASE SAVEPOINT mine');
      });
      expect(rows).toEqual([1, 5]);
    },
  );

  it('one inside another, of one name or of two', async () => {
    const rows = await outcome(async () => {
      await ds.query('SAVEPOINT a');
      await write(1);
      await ds.query('SAVEPOINT b');
      await write(2);
      await ds.query('SAVEPOINT b');
      await write(3);
      await ds.query('ROLLBACK TO b');
      await write(4);
      await ds.query('SAVEPOINT c');
      await write(5);
      await ds.query('RELEASE SAVEPOINT c');
    });
    expect(rows).toEqual([1, 2, 4, 5]);
    await ds.query('delete from item');
    const none = await outcome(async () => {
      await ds.query('SAVEPOINT a');
      await ds.transaction(() => write(1));
      await ds.query('SAVEPOINT b');
      await write(2);
      await ds.query('ROLLBACK TO a');
    });
    expect(none).toEqual([]);
  });

  it('inside transaction(), while something is added beside it', async () => {
    const rows = await outcome(async (unit) => {
      const inside = ds.transaction(async () => {
        await write(2);
        await ds.query('SAVEPOINT mine');
        await write(3);
        await ds.query('ROLLBACK TO mine');
        await write(4);
      });
      unit.add(LIST, 1);
      await inside;
      await ds.query('insert into item values (1)');
    });
    expect(rows).toEqual([1, 2, 4]);
  });

  it.runIf(!isMysql)('one that ended with its transaction() hides no older one of its name, and an error before it heals', async () => {
    const rows = await outcome(async () => {
      await write(1);
      await ds.query('SAVEPOINT mine');
      await write(2);
      await units.run(async () => {
        await ds.query('SAVEPOINT mine');
        await write(3);
      });
      await ds.query('insert into item values (1)').catch(() => undefined);
      await ds.query('ROLLBACK TRANSACTION TO SAVEPOINT mine');
    });
    expect(rows).toEqual([1]);
  });

  it.each(['SAVEPOINT mine; insert into item values (1)', 'SAVEPOINT mine -- mine', 'ROLLBACK TO elsewhere'])('what cannot be followed is refused: %s', async (text) => {
    const run = units.run(async () => {
      await ds.query(text);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_STATEMENT_INVALID' });
    await expect(run).rejects.toThrow('Use dataSource.transaction()');
  });

  it('a ROLLBACK TO that did not happen is not caught away', async () => {
    const run = units.run(async () => {
      await ds.query('SAVEPOINT mine');
      await write(1);
      await ds.query('RELEASE SAVEPOINT mine');
      await ds.query('ROLLBACK TO SAVEPOINT mine').catch(() => undefined);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    expect(await ids()).toEqual([]);
  });
});
