/** Connections cut at the worst moments, on servers: a proxy in between, or the server's own KILL. */
import { DataSource, Entity, PrimaryColumn, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeServers, sqlServers, type TestDatabase } from '../../../../../test/support/backends.js';
import { startCuttingProxy, type CuttingProxy } from '../../../../../test/support/cutting-proxy.js';
import type { PendingEvent } from '../../events/event-log.js';
import { Clock } from '../../kernel/clock.js';
import { newId } from '../../kernel/new-id.js';
import { sqlOf, sqlOutside, sqlTransaction } from './sql.js';
import { tandemMigrations } from './migrations/tandem-migrations.js';
import { SqlEventLog } from './sql-event-log.js';
import { tableNames } from './table-names.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity()
class Item {
  @PrimaryColumn('int')
  id!: number;
}

const pendingEvent = (): PendingEvent => ({
  eventId: newId(),
  tenant: '',
  stream: `item-${newId()}`,
  type: 'item.added',
  schemaVersion: 1,
  payload: '{}',
  metadata: '{}',
  expected: 'any',
});

describeServers('a connection that is lost, on $name', sqlServers(), (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let proxy: CuttingProxy;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;

  beforeAll(async () => {
    database = await backend.create();
    proxy = await startCuttingProxy(database.url);
    ds = await (
      await tandemDataSource({ ...database.dataSourceOptions, url: proxy.url, entities: [Item], migrations: tandemMigrations(), poolSize: 1, logging: false } as DataSourceOptions)
    ).initialize();
    units = new TypeOrmUnitOfWork(ds, new Clock());
    await ds.query('create table item (id int primary key)');
    await ds.runMigrations();
  });
  afterAll(async () => {
    await ds.destroy();
    await proxy.stop();
    await database.drop();
  });
  beforeEach(() => ds.query('delete from item'));

  const ids = () => sqlOutside(ds, async (sql) => (await sql.query<{ id: number }[]>('select id from item order by id')).map(({ id }) => id));
  const insert = (id: number) => ds.query(`insert into item values (${id})`);
  const kill = async () => {
    const [{ id }] = await ds.query(isMysql ? 'select connection_id() as id' : 'select pg_backend_pid() as id');
    const other = await new DataSource({ ...database.dataSourceOptions }).initialize();
    await other.query(isMysql ? `kill ${id}` : `select pg_terminate_backend(${id})`);
    await other.destroy();
  };

  it('killed in mid-unit: what follows is refused although it is caught, nothing is written, the pool recovers', async () => {
    let last: unknown;
    const run = units.run(async () => {
      await insert(1);
      await kill();
      await insert(2).catch(() => undefined);
      await insert(3).catch((error: unknown) => (last = error));
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    expect(last).toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    await units.run(() => insert(4));
    expect(await ids()).toEqual([4]);
  });

  it.each([
    ['a statement', () => insert(2)],
    ['a repository', () => ds.getRepository(Item).save({ id: 2 })],
    ['a transaction inside', () => ds.transaction((em) => em.insert(Item, { id: 2 }))],
  ])('killed, and noticed before the next word: %s is told what ended the transaction', async (_what, write) => {
    let told: unknown;
    const run = units.run(async (unit) => {
      await insert(1);
      await kill();
      await expect.poll(() => unit.doomedBy).toBeDefined();
      await write().catch((error: unknown) => (told = error));
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    expect(told).toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    expect(await ids()).toEqual([]);
  });

  it('killed while a statement waits for a transaction() that waits for it: neither waits on', async () => {
    let told: unknown;
    const run = units.run(async () => {
      // Caught at once: the loss may be told before the transaction comes to wait for it.
      const saved = ds
        .getRepository(Item)
        .save({ id: 1 })
        .catch((error: unknown) => (told = error));
      await ds.transaction(async () => {
        await kill();
        await saved;
      });
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    expect(told).toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    expect(await ids()).toEqual([]);
  });

  it('killed while the handler waits for what never comes: the unit ends without it, and refuses what still comes of it', async () => {
    let comes!: () => void;
    const never = new Promise<void>((resolve) => (comes = resolve));
    let late!: Promise<unknown>;
    const run = units.run(async () => {
      await insert(1);
      await kill();
      await (late = never.then(() => insert(2)));
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await units.run(() => insert(3));
    comes();
    await expect(late).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    expect(await ids()).toEqual([3]);
  });

  it('killed while the handler does something else: the unit fails at its next word to the database', async () => {
    const error = await units
      .run(async () => {
        await insert(1);
        await kill();
      })
      .catch((reason: unknown) => reason);
    // The loss may reach us before COMMIT or by it.
    expect(['TANDEM_STORAGE_UNAVAILABLE', 'TANDEM_COMMIT_UNKNOWN']).toContain((error as { code: unknown }).code);
    expect(units.isTransient(error)).toBe(true);
    expect(await ids()).toEqual([]);
  });

  it.each([
    ['before the server sees COMMIT', 'before', []],
    ['after the server committed', 'after', [1]],
  ] as const)('cut %s: the outcome is unknown, and the work is not repeated', async (_when, when, expected) => {
    let runs = 0;
    const run = units.run(async () => {
      runs++;
      await insert(1);
      proxy.cutAt('COMMIT', when);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(runs).toBe(1);
    expect(await ids()).toEqual(expected);
  });

  it.each([
    ['before the server sees it', 'before', 0],
    ['after the server committed', 'after', 1],
  ] as const)('an append that commits, cut %s: the outcome is unknown, and the work is not repeated', async (_when, when, expected) => {
    const log = new SqlEventLog(ds, tableNames());
    const events = async () => sqlOutside(ds, async (sql) => Number((await sql.query<{ n: string }[]>('select count(*) as n from tandem_event'))[0]!.n));
    await units.run((unit) => log.appendLast(unit, [pendingEvent()]));
    const before = await events();
    let runs = 0;
    const run = units.run(async (unit) => {
      runs++;
      proxy.cutAt('COMMIT', when);
      await log.appendLast(unit, [pendingEvent()]);
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(runs).toBe(1);
    expect(await events()).toBe(before + expected);
  });

  it('the same for a short transaction of its own', async () => {
    const run = sqlTransaction(ds, async (sql) => {
      await sql.query('insert into item values (?)', [1]);
      proxy.cutAt('COMMIT', 'after');
    });
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(await ids()).toEqual([1]);
  });

  it('a connection that turns out to be dead when the transaction begins is replaced', async () => {
    proxy.cutAt('START TRANSACTION', 'before');
    const attempts: number[] = [];
    await units.run(async (unit) => {
      attempts.push(unit.attempt);
      await sqlOf(unit).query('select 1');
      await sqlOf(unit).query('insert into item values (?)', [1]);
    });
    expect(attempts).toEqual(backend.name === 'mariadb' ? [1, 2] : [2]); // MariaDB's begins when the first statement comes
    expect(await ids()).toEqual([1]);
  });

  it.runIf(backend.name === 'mariadb')('so is one that turns out to be dead when its first statement begins the transaction', async () => {
    proxy.cutAt('insert into item', 'before');
    const attempts: number[] = [];
    await units.run(async (unit) => {
      attempts.push(unit.attempt);
      await sqlOf(unit).query('insert into item values (?)', [1]);
    });
    expect(attempts).toEqual([1, 2]);
    expect(await ids()).toEqual([1]);
  });

  it('a unit that waits for the only connection gets a new one when that is lost', async () => {
    const killed = units.run(async () => {
      await kill();
      await insert(1);
    });
    const waiting = units.run(() => insert(2));
    await expect(killed).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await waiting;
    expect(await ids()).toEqual([2]);
  });

  it('no server: TANDEM_STORAGE_UNAVAILABLE', async () => {
    const gone = await startCuttingProxy(database.url);
    const source = await (await tandemDataSource({ ...database.dataSourceOptions, url: gone.url, logging: false } as DataSourceOptions)).initialize();
    await gone.stop();
    await expect(new TypeOrmUnitOfWork(source, new Clock()).run(async () => 1)).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await expect(sqlOutside(source, async () => 1)).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await source.destroy();
  });
});
