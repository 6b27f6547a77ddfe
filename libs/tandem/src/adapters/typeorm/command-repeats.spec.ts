/** What a command id is worth where COMMIT's answer is lost, and what it costs. */
import { DataSource, type DataSourceOptions, Entity, PrimaryColumn } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { describeServers, sqlServers, type TestDatabase } from '../../../../../test/support/backends.js';
import { startCuttingProxy, type CuttingProxy } from '../../../../../test/support/cutting-proxy.js';
import { DomainEvent } from '../../events/domain-event.js';
import { EventCapture } from '../../events/event-capture.js';
import { Clock } from '../../kernel/clock.js';
import { nextMessage, runWithMessage } from '../../kernel/message-context.js';
import { newId } from '../../kernel/new-id.js';
import type { UnitOptions } from '../../kernel/unit-of-work.js';
import { CommandIds } from '../../write/command/command-ids.js';
import { poolsOf } from './acquire.js';
import { linkTo } from './driver-link.js';
import { tandemMigrations } from './migrations/tandem-migrations.js';
import { SqlCommandStore } from './sql-command-store.js';
import { SqlEventLog } from './sql-event-log.js';
import { sqlOutside } from './sql.js';
import { tableNames } from './table-names.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity()
class Item {
  @PrimaryColumn('int')
  id!: number;
}

@DomainEvent('spec.item-added', { version: 1, stream: (e) => ['item', String(e.id)] })
class ItemAdded {
  constructor(readonly id: number) {}
}

describeServers('a command with an id, on $name', sqlServers(), (backend) => {
  let database: TestDatabase;
  let proxy: CuttingProxy;
  let ds: DataSource;
  let units: TypeOrmUnitOfWork;
  let capture: EventCapture;
  let ids: CommandIds;
  let runs = 0;

  beforeAll(async () => {
    database = await backend.create();
    proxy = await startCuttingProxy(database.url);
    const options = { ...database.dataSourceOptions, url: proxy.url, entities: [Item], synchronize: true, migrations: tandemMigrations(), poolSize: 4, logging: false };
    ds = await tandemDataSource(options as DataSourceOptions);
    poolsOf(ds).configure({ commandPoolSize: backend.dialect === 'mysql' ? 4 : 0 });
    await ds.initialize();
    await ds.runMigrations();
    units = new TypeOrmUnitOfWork(ds, new Clock());
    capture = new EventCapture(units, new SqlEventLog(ds, tableNames()));
    ids = new CommandIds(new SqlCommandStore(ds, tableNames()), capture);
  }, 60_000);
  afterAll(async () => {
    await ds.destroy();
    await proxy.stop();
    await database.drop();
  });
  beforeEach(() => void (runs = 0));

  /** Adds an item, as the command bus would run it. */
  const add = (item: number, key: string | undefined, options: UnitOptions & { readonly onceHandled?: () => void; readonly silent?: boolean } = {}): Promise<unknown> =>
    runWithMessage({ ...nextMessage(), commandId: key === undefined ? undefined : { id: key } }, async () => {
      const { silent, onceHandled, ...limits } = options;
      const own = ids.current({ item }, 'AddItem');
      const handle = async () => {
        runs++;
        await ds.getRepository(Item).insert({ id: item });
        if (!silent) void capture.take([new ItemAdded(item)], () => undefined);
        if (runs === 1) onceHandled?.();
        return runs;
      };
      return own ? units.run((unit) => ids.once(unit, own, handle), { ...limits, repeatUnknown: true }) : units.run(handle, limits);
    });
  const effects = (item: number) =>
    sqlOutside(ds, async (sql) => {
      const count = async (of: string) => Number((await sql.query<{ n: string }[]>(`SELECT COUNT(*) AS n FROM ${of}`))[0]!.n);
      return { items: await count(`item WHERE id = ${item}`), events: await count(`tandem_event WHERE stream = 'item-${item}'`) };
    });
  const ONE = { items: 1, events: 1 };
  const cut = (when: 'before' | 'after') => ({ onceHandled: () => proxy.cutAt('COMMIT', when) });

  it.each([
    ['before the server sees COMMIT: it runs once more', 'before', 11, 2],
    ['after the server committed: it is found', 'after', 12, 1],
  ] as const)('cut %s', async (_what, when, item, expected) => {
    expect(await add(item, newId(), cut(when))).toBe(expected);
    expect(runs).toBe(expected);
    expect(await effects(item)).toEqual(ONE);
  });

  it.each([
    ['before', 21],
    ['after', 22],
  ] as const)('cut %s the server commits, where it may not run again by itself: unknown, and safe to send again', async (when, item) => {
    const key = newId();
    await expect(add(item, key, { ...cut(when), tries: 1 })).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    for (let i = 0; i < 2; i++) expect(await add(item, key)).toBe(when === 'before' ? 2 : 1);
    expect(await effects(item)).toEqual(ONE);
  });

  it.each([
    ['before', 23],
    ['after', 24],
  ] as const)('the same, cut %s, where it publishes nothing', async (when, item) => {
    expect(await add(item, newId(), { ...cut(when), silent: true })).toBe(when === 'before' ? 2 : 1);
    expect(await effects(item)).toEqual({ items: 1, events: 0 });
  });

  it('without an id it is not repeated: nobody could tell', async () => {
    await expect(add(31, undefined, cut('after'))).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(runs).toBe(1);
  });

  it('stays unknown when the database does not come back: what the repeat met is not what became of the first', async () => {
    const gone = await startCuttingProxy(database.url);
    const source = await (await tandemDataSource({ ...database.dataSourceOptions, url: gone.url, poolSize: 1, logging: false } as DataSourceOptions)).initialize();
    const apart = new TypeOrmUnitOfWork(source, new Clock());
    const attempts: number[] = [];
    const running = apart.run(
      async (unit) => {
        attempts.push(unit.attempt);
        await source.query('INSERT INTO item VALUES (41)');
        gone.cutAt('COMMIT', 'after');
        setImmediate(() => void gone.stop());
      },
      { repeatUnknown: true },
    );
    await expect(running).rejects.toMatchObject({ code: 'TANDEM_COMMIT_UNKNOWN' });
    expect(attempts).toEqual([1]);
    await source.destroy();
  });

  it('told a repeat that cannot wait any longer that the first is still being handled', async () => {
    const key = newId();
    let letGo!: () => void;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    let begun!: () => void;
    const handling = new Promise<void>((resolve) => (begun = resolve));
    const first = units.run(async (unit) => {
      const own = await runWithMessage({ ...nextMessage(), commandId: { id: key } }, async () => ids.current({ item: 51 }, 'AddItem')!);
      return ids.once(unit, own, () => (begun(), held));
    });
    await handling;
    await expect(add(51, key, { tries: 1 })).rejects.toMatchObject({ code: 'TANDEM_COMMAND_IN_PROGRESS', data: { commandId: key } });
    letGo();
    await first;
    expect(runs).toBe(0);
  }, 60_000);

  it('costs one round trip with events; without an id none', async () => {
    const sent: string[] = [];
    const prototype = Object.getPrototypeOf(linkTo({}, backend.dialect)) as { send(text: string): Promise<unknown> };
    const send = vi.spyOn(prototype, 'send');
    const trips = async (work: () => Promise<unknown>): Promise<number> => {
      send.mockClear();
      await work();
      sent.push(...send.mock.calls.map(([text]) => text));
      return send.mock.calls.length;
    };
    await add(61, undefined);
    const plain = await trips(() => add(62, undefined));
    const withId = await trips(() => add(63, newId()));
    const silent = await trips(() => add(64, undefined, { silent: true }));
    const silentWithId = await trips(() => add(65, newId(), { silent: true }));
    send.mockRestore();
    // COMMIT is the last act of MariaDB's block, and MySQL sends the id and its outcome one after the other; on PostgreSQL COMMIT does not pass `send`, and an outcome without events takes a statement of its own.
    expect({ plain, withId, sent }).toMatchObject({ withId: plain + (backend.name === 'mysql' ? 2 : 1) });
    expect({ silent, silentWithId, sent }).toMatchObject({ silentWithId: silent + (backend.name === 'mariadb' ? 1 : 2) });
  });
});
