/** A connection on which no answer comes, and that nobody cuts: a proxy in between swallows what is sent from a certain statement on. */
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeServers, sqlServers, type TestDatabase } from '../../../../../test/support/backends.js';
import { startCuttingProxy, type CuttingProxy } from '../../../../../test/support/cutting-proxy.js';
import { Clock } from '../../kernel/clock.js';
import { poolsOf } from './acquire.js';
import { sqlOf, sqlOutside, sqlTransaction } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

const ANSWER_TIMEOUT_MS = 700;
const AWAY = { code: 'TANDEM_STORAGE_UNAVAILABLE' };

describeServers('a connection that falls silent, on $name', sqlServers(), (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let proxy: CuttingProxy;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;
  let own: DataSource;

  beforeAll(async () => {
    database = await backend.create();
    own = await new DataSource(database.dataSourceOptions).initialize();
    await own.query('create table item (id int primary key)');
    proxy = await startCuttingProxy(database.url);
    ds = await (await tandemDataSource({ ...database.dataSourceOptions, url: proxy.url, poolSize: 1, logging: false } as DataSourceOptions)).initialize();
    // One connection for all: the next statement needs that the silent one was thrown away.
    poolsOf(ds).configure({ commandPoolSize: 0, queryPoolSize: 0, workerPoolSize: 0, answerTimeoutMs: ANSWER_TIMEOUT_MS, acquireTimeoutMs: 20_000 });
    units = new TypeOrmUnitOfWork(ds, new Clock());
  });
  afterAll(async () => {
    await ds.destroy();
    await proxy.stop();
    await own.destroy();
    await database.drop();
  });
  beforeEach(() => own.query('delete from item'));

  const ids = async () => (await own.query<{ id: number }[]>('select id from item order by id')).map(({ id }) => id);
  const insert = (id: number) => ds.query(`insert into item values (${id})`);
  const works = async () => {
    await units.run(() => insert(9));
    await expect.poll(ids).toContain(9);
  };

  it.each(['before', 'after'] as const)(
    'in a unit of work (%s the server sees the statement): it is unavailable, nothing is written, the next unit has another connection',
    async (when) => {
      let runs = 0;
      const run = units.run(async () => {
        runs++;
        await insert(1);
        proxy.silenceAt('into item values (2)', when);
        await insert(2);
      });
      await expect(run).rejects.toMatchObject(AWAY);
      expect(runs).toBe(1);
      await works();
      expect(await ids()).toEqual([9]);
    },
  );

  it.each([
    ['before', []],
    ['after', [1]],
  ] as const)('at COMMIT, %s the server sees it: the outcome is unknown, and the work is not repeated', async (when, expected) => {
    let runs = 0;
    const run = units.run(async () => {
      runs++;
      await insert(1);
      proxy.silenceAt('COMMIT', when);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(runs).toBe(1);
    await expect.poll(ids).toEqual(expected);
    await works();
  });

  it('when the transaction begins: it is told at once, not tried on one silent connection after the other', async () => {
    proxy.silenceAt('START TRANSACTION', 'before');
    const attempts: number[] = [];
    const run = units.run(async (unit) => {
      attempts.push(unit.attempt);
      await sqlOf(unit).query('select 1');
      await insert(1);
    });
    await expect(run).rejects.toMatchObject(AWAY);
    expect(attempts.every((attempt) => attempt === 1)).toBe(true);
    await works();
  });

  it('in short statements of Tandem’s own, and in its own transactions', async () => {
    proxy.silenceAt('select 17', 'before');
    await expect(sqlOutside(ds, (sql) => sql.query('select 17'))).rejects.toMatchObject(AWAY);
    proxy.silenceAt('select 18', 'before');
    await expect(sqlTransaction(ds, (sql) => sql.query('select 18'))).rejects.toMatchObject(AWAY);
    await works();
  });

  it('in what the application sends outside of units of work: the driver’s error says why', async () => {
    proxy.silenceAt('select 19', 'before');
    await expect(ds.query('select 19')).rejects.toThrow(`no answer within ${ANSWER_TIMEOUT_MS} ms`);
    await works();
  });

  it('one that answers in time is let alone, however long the work takes and however long it lies in the pool', async () => {
    const sleep = isMysql ? 'select sleep(0.3)' : 'select pg_sleep(0.3)';
    const before = await ds.query<unknown>(isMysql ? 'select connection_id() as id' : 'select pg_backend_pid() as id');
    await units.run(async () => {
      for (let n = 0; n < 4; n++) await ds.query(sleep);
      await new Promise((resolve) => setTimeout(resolve, ANSWER_TIMEOUT_MS * 2));
      await insert(1);
    });
    await new Promise((resolve) => setTimeout(resolve, ANSWER_TIMEOUT_MS * 2));
    const after = await ds.query<unknown>(isMysql ? 'select connection_id() as id' : 'select pg_backend_pid() as id');
    expect(after).toEqual(before);
    expect(await ids()).toEqual([1]);
  });
});
