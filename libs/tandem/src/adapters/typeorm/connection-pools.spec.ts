/** A pool for each use, on servers: none keeps the others waiting, a full one is told, and closing loses nothing. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, Entity, PrimaryColumn, type DataSourceOptions } from 'typeorm';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { describeServers, sqlServers, type TestDatabase } from '../../../../../test/support/backends.js';
import { sessionLimits } from '../../../../../test/support/session-limits.js';
import { Clock } from '../../kernel/clock.js';
import { asWorker, CONNECTION_USES, type ConnectionUse } from '../../kernel/connection-use.js';
import { poolsOf } from './acquire.js';
import type { PoolSettings } from './connection-pools.js';
import { sqlOutside } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity()
class Item {
  @PrimaryColumn('int')
  id!: number;
}

/** Open until `free` is called. */
class Gate {
  free!: () => void;
  readonly isFree = new Promise<void>((resolve) => (this.free = resolve));
}

describeServers('the pools on $name', sqlServers(), (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  const open: DataSource[] = [];
  const gates: Gate[] = [];

  beforeAll(async () => {
    database = await backend.create();
    const ds = await source({ synchronize: true });
    await ds.destroy();
  });
  afterEach(async () => {
    for (const { free } of gates.splice(0)) free();
    for (const ds of open.splice(0)) if (ds.isInitialized) await ds.destroy();
  }, 20_000);
  afterAll(() => database.drop());

  async function source(options: object, pools: Partial<PoolSettings> = {}): Promise<DataSource> {
    const ds = await tandemDataSource({ ...database.dataSourceOptions, entities: [Item], logging: false, ...options } as DataSourceOptions);
    poolsOf(ds).configure(pools);
    open.push(ds);
    return ds.initialize();
  }
  const newGate = (): Gate => {
    const gate = new Gate();
    gates.push(gate);
    return gate;
  };
  const narrow = (pools: Partial<PoolSettings> = {}) => source({ poolSize: 1 }, { commandPoolSize: 1, queryPoolSize: 1, workerPoolSize: 1, acquireTimeoutMs: 300, ...pools });

  const { columns, expected: limits, id: sessionId } = sessionLimits(backend);
  const settings = `select ${columns}, ${sessionId} as id`;

  type Way = (ds: DataSource, work: (query: (sql: string) => Promise<unknown>) => Promise<unknown>) => Promise<unknown>;
  const unit =
    (kind: 'write' | 'consumer' | 'snapshot'): Way =>
    (ds, work) =>
      new TypeOrmUnitOfWork(ds, new Clock()).run(() => work((sql) => ds.query(sql)), { kind });
  const plainly: Way = async (ds, work) => {
    const runner = ds.createQueryRunner();
    try {
      return await work((sql) => runner.query(sql));
    } finally {
      await runner.release();
    }
  };
  const look: Way = (ds, work) => sqlOutside(ds, (sql) => work((text) => sql.query(text)));
  const ofJob =
    (way: Way): Way =>
    (ds, work) =>
      asWorker(() => way(ds, work)) as Promise<unknown>;
  const ways: Readonly<Record<string, readonly [Way, ConnectionUse]>> = {
    'a command': [unit('write'), 'command'],
    'a query runner outside of a unit': [plainly, 'outside'],
    'a query': [unit('snapshot'), 'query'],
    'a look of Tandem outside of a unit': [look, 'query'],
    'a batch': [unit('consumer'), 'worker'],
    'a command of a job': [ofJob(unit('write')), 'worker'],
    'a query of a job': [ofJob(unit('snapshot')), 'worker'],
    'a query runner in a job': [ofJob(plainly), 'worker'],
    'a look of a worker': [ofJob(look), 'worker'],
  };
  const representative: Readonly<Record<ConnectionUse, Way>> = { command: unit('write'), query: unit('snapshot'), worker: unit('consumer'), outside: plainly };

  /** Takes the only connection of a pool; resolves when it has it. */
  async function hold(ds: DataSource, way: Way): Promise<{ readonly free: () => void; readonly done: Promise<unknown> }> {
    const gate = newGate();
    let done!: Promise<unknown>;
    await new Promise<void>((resolve, reject) => {
      done = way(ds, async (query) => {
        await query('select 1');
        resolve();
        await gate.isFree;
      });
      done.catch(reject);
    });
    return { free: gate.free, done };
  }

  it('an idle session is used again, but not where the server is about to end it', async () => {
    const ds = await narrow();
    const idOf = async () => (await ds.query<{ id: unknown }[]>(`select ${sessionId} as id`))[0]!.id;
    const [first, again] = [await idOf(), await idOf()];
    const now = Date.now();
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now + 9_000);
    const late = await idOf().finally(() => clock.mockRestore());
    expect([again === first, late === first]).toEqual([true, backend.name !== 'mysql']);
  });

  it.each(Object.keys(ways))('%s has a session with all limits', async (name) => {
    const [way] = ways[name]!;
    const ds = await source({});
    let found: unknown;
    await way(ds, async (query) => (found = await query(settings)));
    const isSnapshot = way === ways['a query']![0] || name === 'a query of a job';
    const isolation = !isMysql && isSnapshot ? { isolation: 'repeatable read' } : {};
    expect(found).toEqual([{ ...limits, ...isolation, id: expect.anything() as unknown }]);
  });

  it.each(Object.keys(ways))('%s is served while the other pools are full, and told at once what is full where its own is', async (name) => {
    const [way, use] = ways[name]!;
    const ds = await narrow();
    const others = await Promise.all(CONNECTION_USES.filter((other) => other !== use).map((other) => hold(ds, representative[other])));
    await way(ds, (query) => query('select 1'));

    const own = await hold(ds, representative[use]);
    const refused = way(ds, (query) => query('select 1'));
    const option = use === 'outside' ? '`poolSize` of the data source' : `\`${use}PoolSize\` of typeOrmStorage`;
    await expect(refused).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT', data: { pool: use, size: 1 }, message: expect.stringContaining(option) as string });
    await expect(refused).rejects.toThrow(/^No connection for [\w ]+ within 300 ms: the only one of its pool is in use\. Look for/);
    for (const held of [...others, own]) held.free();
    await Promise.all([...others, own].map(({ done }) => done));
    // What came too late went back to its pool.
    await way(ds, (query) => query('select 1'));
    await way(ds, (query) => query('select 1'));
  });

  it('a burst in one pool opens no more connections than it may have, and all of it is served', async () => {
    const ds = await source({ poolSize: 3 }, { commandPoolSize: 5, queryPoolSize: 2, workerPoolSize: 4 });
    const ids = new Map<string, Set<unknown>>();
    const ask = (name: string, way: Way) =>
      way(ds, async (query) => {
        const [{ id }] = (await query(settings)) as [{ id: unknown }];
        ids.set(name, (ids.get(name) ?? new Set()).add(id));
      });
    await Promise.all(Object.entries(representative).flatMap(([name, way]) => Array.from({ length: 30 }, () => ask(name, way))));
    expect(Object.fromEntries([...ids].map(([name, found]) => [name, found.size]))).toEqual({ command: 5, query: 2, worker: 4, outside: 3 });
    expect(new Set([...ids.values()].flatMap((found) => [...found])).size).toBe(14);
  });

  it('commands have as many connections of their own as the data source where that saves them a round trip', async () => {
    const ds = await source({ poolSize: 3 }, { queryPoolSize: 0, workerPoolSize: 2 });
    const outside = (...sharing: string[]) => ({ of: [...sharing, 'code outside of units of work'].join(' and '), atMost: 3 });
    const own = [{ of: 'commands', atMost: 3 }, { of: 'workers', atMost: 2 }, outside('queries')];
    expect(poolsOf(ds).shares()).toEqual(backend.name === 'mariadb' ? own : [{ of: 'workers', atMost: 2 }, outside('commands', 'queries')]);
  });

  it('a pool of size 0 is none: who would use it shares that of the data source', async () => {
    const ds = await narrow({ commandPoolSize: 0, queryPoolSize: 0, workerPoolSize: 0 });
    expect(poolsOf(ds).shares()).toEqual([{ of: 'commands and queries and workers and code outside of units of work', atMost: 1 }]);
    const held = await hold(ds, representative.worker);
    for (const way of Object.values(representative)) {
      await expect(way(ds, (query) => query('select 1'))).rejects.toMatchObject({
        code: 'TANDEM_ACQUIRE_TIMEOUT',
        message: expect.stringContaining('`poolSize` of the data source') as string,
      });
    }
    held.free();
    await held.done;
  });

  it.each(['repository', 'query', 'transaction', 'query builder'] as const)('a %s outside of a unit does not wait for ever for a full pool', async (what) => {
    const ds = await narrow();
    const held = await hold(ds, representative.outside);
    const use = {
      repository: () => ds.getRepository(Item).count(),
      query: () => ds.query('select 1'),
      transaction: () => ds.transaction((manager) => manager.count(Item)),
      'query builder': () => ds.createQueryBuilder(Item, 'i').getCount(),
    }[what];
    await expect(use()).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT' });
    held.free();
    await held.done;
    await use();
    await use();
  });

  it('a handler that asks for a second connection outside of its unit is told, and its unit goes on', async () => {
    const ds = await narrow({ commandPoolSize: 0 });
    const units = new TypeOrmUnitOfWork(ds, new Clock());
    await units.run(async () => {
      await expect(units.outside(() => ds.getRepository(Item).count())).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT' });
      await expect(units.outside(() => units.run(() => ds.query('select 1')))).rejects.toMatchObject({ code: 'TANDEM_ACQUIRE_TIMEOUT' });
      await ds.getRepository(Item).insert({ id: 71 });
    });
    expect(await ds.getRepository(Item).countBy({ id: 71 })).toBe(1);
  });

  it.each(CONNECTION_USES)('closing waits for who has a connection of the pool for %s', async (use) => {
    const ds = await narrow();
    const held = await hold(ds, representative[use]);
    const closed = ds.destroy();
    await sleep(30); // so that a close which does not wait would be over
    expect(ds.isInitialized).toBe(true);
    held.free();
    await held.done;
    await closed;
    expect(ds.isInitialized).toBe(false);
  });

  it.each(Object.keys(ways))('%s that does not come back is cut off when the data source closes', async (name) => {
    const [way] = ways[name]!;
    const ds = await narrow({ closeWithinMs: 100 });
    const gate = newGate();
    let begun!: () => void;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const left = way(ds, async (query) => {
      await query('select 1');
      begun();
      await gate.isFree;
      await query('select 1');
    });
    const told = left.catch((error: unknown) => error);
    await hasBegun;
    await ds.destroy();
    expect(ds.isInitialized).toBe(false);
    gate.free();
    expect(((await told) as { code?: unknown }).code).toMatch(/^TANDEM_(STORAGE_UNAVAILABLE|UNIT_OF_WORK_DOOMED|UNIT_OF_WORK_CLOSED)$/);
  });

  it('a server that takes no more connections is named as that, with what to make smaller', async () => {
    const user = `tandem_${randomBytes(6).toString('hex')}`;
    const admin = await source({});
    const { pathname } = new URL(database.url);
    await admin.query(isMysql ? `create user ${user} identified by 'secret' with max_user_connections 1` : `create role ${user} login password 'secret' connection limit 1`);
    await admin.query(isMysql ? `grant all on ${pathname.slice(1)}.* to ${user}` : `grant all on schema public to ${user}`);
    const url = Object.assign(new URL(database.url), { username: user, password: 'secret' });
    try {
      const ds = await source({ url: url.href }, { commandPoolSize: 0 });
      const held = await hold(ds, representative.command);
      for (const way of [representative.query, representative.worker]) {
        const refused = way(ds, (query) => query('select 1'));
        await expect(refused).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
        await expect(refused).rejects.toThrow(/^The database takes no more connections\. Make `poolSize`/);
      }
      await expect(source({ url: url.href })).rejects.toThrow(/^The database takes no more connections/);
      held.free();
      await held.done;
      await ds.destroy();
    } finally {
      await admin.query(isMysql ? `drop user ${user}` : `drop owned by ${user}; drop role ${user}`);
    }
  });

  it('a data source that is opened again has all of its pools', async () => {
    const ds = await source({});
    for (const way of Object.values(representative)) await way(ds, (query) => query('select 1'));
    await ds.destroy();
    await ds.initialize();
    for (const way of Object.values(representative)) await way(ds, (query) => query('select 1'));
  });

  it('closing ends the connections of all pools', async () => {
    const ds = await source({});
    const ids: unknown[] = [];
    for (const way of Object.values(representative)) await way(ds, async (query) => ids.push(((await query(settings)) as [{ id: unknown }])[0].id));
    await ds.destroy();
    const other = await new DataSource({ ...database.dataSourceOptions }).initialize();
    open.push(other);
    const list = isMysql ? `select id from information_schema.processlist where id in (${ids.join()})` : `select pid from pg_stat_activity where pid in (${ids.join()})`;
    await vi.waitFor(async () => expect(await other.query(list)).toEqual([]), { timeout: 20_000 });
  });
});
