/** What ends a transaction, provoked for real: the unit never commits, whatever its handler catches. */
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { sqlOf, sqlOutside } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

const servers = sqlBackends();

describe.each(servers)('a unit whose transaction ended, on $name', (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;

  beforeAll(async () => {
    database = await backend.create();
    ds = await (await tandemDataSource({ ...database.dataSourceOptions })).initialize();
    units = new TypeOrmUnitOfWork(ds, new Clock());
    await ds.query('create table item (id int primary key, n int not null)');
    if (isMysql) await ds.query('create procedure commits() commit');
    else await ds.query('create table child (item_id int references item(id) deferrable initially deferred)');
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    await ds.query('delete from item');
    await ds.query('insert into item values (1, 0), (2, 0)');
  });

  const rows = () => sqlOutside(ds, async (sql) => (await sql.query<{ id: number; n: number }[]>('select id, n from item order by id')).map(({ id, n }) => [id, n]));
  const insert = (id: number) => ds.query(`insert into item values (${id}, 0)`);
  const raise = (mysqlCode: number, postgresCode: string) =>
    ds.query(isMysql ? `signal sqlstate 'HY000' set mysql_errno = ${mysqlCode}` : `do $$ begin raise exception 'provoked' using errcode = '${postgresCode}'; end $$`);

  it('a duplicate key that is caught: MySQL goes on, PostgreSQL refuses what follows and rolls back', async () => {
    let later: unknown;
    const run = units.run(async () => {
      await insert(5);
      await insert(1).catch(() => undefined);
      await insert(6).catch((error: unknown) => (later = error));
    });
    if (isMysql) {
      await run;
      expect(await rows()).toEqual([[1, 0], [2, 0], [5, 0], [6, 0]]); // prettier-ignore
    } else {
      await expect(run).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED', cause: { driverError: { code: '23505' } } });
      expect(later).toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
      expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
    }
  });

  it('an error inside a savepoint that is rolled back heals', async () => {
    await units.run(async () => {
      await insert(5);
      await ds.transaction((manager) => manager.query('insert into item values (1, 0)')).catch(() => undefined);
      await units.run(() => insert(1)).catch(() => undefined);
      await insert(6);
    });
    expect(await rows()).toEqual([[1, 0], [2, 0], [5, 0], [6, 0]]); // prettier-ignore
  });

  it('a nested unit that swallows such an error fails by itself and leaves the outer one well', async () => {
    const nested: unknown[] = [];
    await units.run(async () => {
      await insert(5);
      await units.run(() => insert(1).catch(() => undefined)).catch((error: unknown) => nested.push(error));
      await insert(6);
    });
    expect(nested).toEqual(isMysql ? [] : [expect.objectContaining({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' })]);
    expect(await rows()).toEqual([[1, 0], [2, 0], [5, 0], [6, 0]]); // prettier-ignore
  });

  const retryable: readonly (readonly [string, number, string])[] = [
    ['deadlock', 1213, '40P01'],
    ['lock wait time-out', 1205, '55P03'],
    ['row changed since the snapshot', 1020, '40001'],
    ['lock not available', 3572, '55P03'],
  ];
  it.each(retryable)('%s: dooms although it is caught, is not healed by a savepoint, and repeats the whole work', async (_name, mysqlCode, postgresCode) => {
    const attempts: number[] = [];
    let later: unknown;
    await units.run(async (unit) => {
      attempts.push(unit.attempt);
      await insert(5);
      if (unit.attempt > 1) return;
      await ds.transaction(() => raise(mysqlCode, postgresCode)).catch(() => undefined);
      await insert(6).catch((error: unknown) => (later = error));
    });
    expect(attempts).toEqual([1, 2]);
    expect(later).toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    expect(await rows()).toEqual([[1, 0], [2, 0], [5, 0]]); // prettier-ignore
  });

  it('gives up after `tries` and throws what the handler threw', async () => {
    let attempts = 0;
    const run = units.run(
      async () => {
        attempts++;
        await Promise.allSettled([raise(1213, '40P01'), insert(7), insert(8), insert(9)]);
        throw new Error('mine');
      },
      { tries: 3 },
    );
    await expect(run).rejects.toThrow('mine');
    expect(attempts).toBe(3);
    expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
  });

  it.each(retryable)('%s in every try: the caller gets an error of ours, which may be repeated', async (_name, mysqlCode, postgresCode) => {
    const error: unknown = await units.run(() => raise(mysqlCode, postgresCode), { tries: 2 }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'TANDEM_CONTENTION', cause: expect.any(Error) as Error });
    expect(units.isTransient(error)).toBe(true);
    expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
  });

  it('starts no repeat after the deadline, and repeats nothing that the database did not ask for', async () => {
    let attempts = 0;
    await expect(units.run(async () => (attempts++, raise(1213, '40P01')), { deadlineMs: -1 })).rejects.toThrow();
    await expect(units.run(async () => (attempts++, insert(1)))).rejects.toThrow(/duplicate/i);
    expect(attempts).toBe(2);
  });

  it('DDL and transaction control are refused before they are sent', async () => {
    const refused = [
      'create table other (id int)',
      '  /* why not */ -- now\n ALTER TABLE item ADD x int',
      'drop table item',
      '(truncate table item)',
      'commit',
      'ROLLBACK',
      'start transaction',
      "select ';'; commit",
      ...(isMysql ? ['rename table item to thing', '/*!50000 drop table item */', '# now\ndrop table item', 'analyze table item', 'set autocommit = 1'] : []),
    ];
    for (const text of refused) {
      const run = units.run(async () => {
        await insert(5);
        await ds.query(text);
      });
      await expect(run, text).rejects.toMatchObject({ code: 'TANDEM_DDL_REFUSED' });
    }
    expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
  });

  it('words that look like DDL are not refused', async () => {
    await units.run(async () => {
      await ds.query("insert into item values (5, length('; drop table item'))");
      if (isMysql) await ds.query('create temporary table scratch (id int)');
      await insert(6);
    });
    expect((await rows()).map(([id]) => id)).toEqual([1, 2, 5, 6]);
  });

  it.runIf(isMysql)('a procedure that commits is noticed in the status flags of its reply', async () => {
    const run = units.run(async () => {
      await ds.query('call commits()').catch(() => undefined);
      await insert(5);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED', cause: { code: 'TANDEM_DDL_REFUSED' } });
    expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
  });

  it.runIf(!isMysql)('COMMIT is verified: refused by a deferred constraint, or answered with ROLLBACK', async () => {
    await expect(units.run(() => ds.query('insert into child values (99)'))).rejects.toMatchObject({ code: 'TANDEM_COMMIT_FAILED', cause: { code: '23503' } });

    const unseen = units.run(async () => {
      await insert(5);
      const client = (await ds.manager.queryRunner!.connect()) as { query(text: string): Promise<unknown> };
      await client.query('select wrong').catch(() => undefined);
    });
    await expect(unseen).rejects.toMatchObject({ code: 'TANDEM_COMMIT_FAILED' });
    expect(await rows()).toEqual([[1, 0], [2, 0]]); // prettier-ignore
  });

  it('commit steps of a doomed unit do not run', async () => {
    const steps: number[] = [];
    const own = new TypeOrmUnitOfWork(ds, new Clock());
    own.beforeCommit(async (unit) => void steps.push(unit.attempt));
    await own.run(async (unit) => {
      if (unit.attempt === 1) await raise(1213, '40P01').catch(() => undefined);
    });
    expect(steps).toEqual([2]);
  });

  describe.runIf(backend.name !== 'pglite')('with several connections', () => {
    it('a real deadlock that both handlers catch ends with the effects of both, each once; what was queued behind it never runs in autocommit', async () => {
      let first = 2;
      let go!: () => void;
      const bothHold = new Promise<void>((resolve) => (go = resolve));
      const attempts: number[] = [];
      const work = (one: number, other: number) =>
        units.run(async (unit) => {
          attempts.push(unit.attempt);
          await ds.query(`update item set n = n + 1 where id = ${one}`);
          if (unit.attempt === 1 && --first === 0) go();
          await bothHold;
          await Promise.allSettled([ds.query(`update item set n = n + 1 where id = ${other}`), insert(10 * one + unit.attempt)]);
        });
      await Promise.all([work(1, 2), work(2, 1)]);
      expect(attempts.toSorted()).toEqual([1, 1, 2]);
      const found = await rows();
      expect(found.slice(0, 2)).toEqual([[1, 2], [2, 2]]); // prettier-ignore
      expect([[11, 22], [12, 21]]).toContainEqual(found.slice(2).map(([id]) => id)); // prettier-ignore
    });

    it('a real lock wait time-out that is caught commits no half of the work', async () => {
      let free!: () => void;
      const isFree = new Promise<void>((resolve) => (free = resolve));
      let held!: () => void;
      const isHeld = new Promise<void>((resolve) => (held = resolve));
      const holder = units.run(async () => {
        await ds.query('update item set n = 7 where id = 1');
        held();
        await isFree;
      });
      await isHeld;
      await units.run(async (unit) => {
        await sqlOf(unit).query(isMysql ? 'set session innodb_lock_wait_timeout = 1' : "set local lock_timeout = '300ms'");
        await insert(5);
        if (unit.attempt === 2) {
          free();
          await holder;
        }
        await ds.query('update item set n = n + 1 where id = 1').catch(() => undefined);
      });
      expect(await rows()).toEqual([[1, 8], [2, 0], [5, 0]]); // prettier-ignore
    });
  });
});
