import type pg from 'pg';
import { Column, DataSource, type DataSourceOptions, Entity, PrimaryColumn } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { describeServers, sqlBackends, type SqlBackend } from '../../../../../test/support/backends.js';
import { sessionLimits } from '../../../../../test/support/session-limits.js';
import { Clock } from '../../kernel/clock.js';
import { ConnectionBudget } from '../../kernel/connection-budget.js';
import { UnitOfWork } from '../../kernel/unit-of-work.js';
import { sqlOutside } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { typeOrmStorage } from './typeorm-storage.js';

@Entity('holiday')
class Holiday {
  @PrimaryColumn('int') id!: number;
  @Column('date') day!: string;
}

const servers = sqlBackends().filter(({ name }) => name !== 'pglite');

async function withSource<T>(backend: SqlBackend, options: object, work: (ds: DataSource) => Promise<T>): Promise<T> {
  const database = await backend.create();
  const ds = await (await tandemDataSource({ ...database.dataSourceOptions, ...options } as DataSourceOptions)).initialize();
  try {
    return await work(ds);
  } finally {
    await ds.destroy();
    await database.drop();
  }
}

describe('tandemDataSource', () => {
  it('leaves it to @nestjs/typeorm to initialize', async () => {
    const ds = await tandemDataSource({ type: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none' });
    expect(ds.isInitialized).toBe(false);
  });

  it('refuses what cannot carry Tandem', async () => {
    await expect(tandemDataSource()).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
    await expect(tandemDataSource({ type: 'better-sqlite3', database: ':memory:' })).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
    await expect(tandemDataSource({ type: 'mysql', replication: { master: {}, slaves: [] } })).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
  });

  it('typeOrmStorage refuses a data source that was made without it', () => {
    const provider = typeOrmStorage().providers.find((candidate) => 'provide' in candidate && candidate.provide === UnitOfWork) as { useFactory: (...args: unknown[]) => unknown };
    const plain = new DataSource({ type: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none' });
    expect(() => provider.useFactory(plain, new Clock(), { role: 'all' }, new ConnectionBudget())).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
  });
});

describeServers(
  'a session of PostgreSQL, on $name',
  servers.filter(({ dialect }) => dialect === 'postgres'),
  (backend) => {
    it('that the server ends as soon as it is taken is told by the next statement', () =>
      withSource(backend, { poolSize: 2 }, async (source) => {
        // As a query runner takes it, which listens to errors only after that.
        const driver = source.driver as unknown as { obtainMasterConnection(): Promise<[pg.Client, (error: Error) => void]> };
        const [client, release] = await driver.obtainMasterConnection();
        const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        const ended = new Promise((resolve) => client.once('end', () => resolve(undefined)));
        await source.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
        await ended;
        await expect(client.query('SELECT 1')).rejects.toThrow('not queryable');
        release(new Error('it has ended'));
      }));
  },
);

describe.each(servers)('sessions on $name', (backend) => {
  const isMysql = backend.dialect === 'mysql';
  const { columns, expected } = sessionLimits(backend);

  it('have their settings on every connection, from the first statement', async () => {
    await withSource(backend, { poolSize: 3 }, async (ds) => {
      const found = await Promise.all(Array.from({ length: 3 }, () => sqlOutside(ds, (sql) => sql.query<object[]>(`select ${columns}`))));
      expect(found.flat()).toEqual([expected, expected, expected]);
    });
  });

  it('that cannot be made say why: a server that does not answer with a typed error, a login that it refuses with its own', async () => {
    const database = await backend.create();
    const initialize = async (change: object) => {
      const url = Object.assign(new URL(database.url), change).href;
      return (await tandemDataSource({ ...database.dataSourceOptions, url } as DataSourceOptions)).initialize();
    };
    const away = initialize({ port: '9' });
    await expect(away).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await expect(away).rejects.toThrow(`The database at ${new URL(database.url).hostname}:9 does not answer. Start it`);
    const refused = initialize({ username: 'nobody_at_all', password: 'wrong' });
    await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(isMysql ? /^ER_ACCESS_DENIED/ : /^28/) as string });
    await database.drop();
  });

  it('give a day back as the day that it was, west of Greenwich too', async () => {
    const zone = process.env.TZ;
    process.env.TZ = 'America/New_York';
    try {
      await withSource(backend, { entities: [Holiday], synchronize: true }, async (ds) => {
        await ds.getRepository(Holiday).insert({ id: 1, day: '2026-07-04' });
        expect(await ds.getRepository(Holiday).findOneBy({ id: 1 })).toMatchObject({ day: '2026-07-04' });
      });
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  it('roll back a transaction that idles, so that a stopped process gives its locks back', async () => {
    // The limit is shortened for this session only; that it is set at all is checked above.
    const shorten = {
      mariadb: 'set session idle_transaction_timeout = 1',
      mysql: 'set session wait_timeout = 1',
      postgres: "set local idle_in_transaction_session_timeout = '500ms'",
      pglite: '',
    };
    await withSource(backend, { logging: false, poolSize: 2 }, async (ds) => {
      await ds.query('create table item (id int primary key)');
      let inserted = false;
      const idle = sqlOutside(ds, async (sql) => {
        await sql.query(isMysql ? 'start transaction' : 'begin');
        await sql.query(shorten[backend.name]);
        await sql.query('insert into item values (1)');
        inserted = true;
        await new Promise((resolve) => setTimeout(resolve, 2_500));
        await sql.query('commit');
      });
      await expect(idle).rejects.toThrow();
      expect(inserted).toBe(true);
      expect(await ds.query('select * from item')).toEqual([]);
    });
  });

  it.runIf(!isMysql)('keep what the application set itself', async () => {
    await withSource(backend, { extra: { options: '-c lock_timeout=7s', idle_in_transaction_session_timeout: 60_000, application_name: 'mine' } }, async (ds) => {
      const [found] = await sqlOutside(ds, (sql) => sql.query<object[]>(`select ${columns}`));
      expect(found).toEqual({ ...expected, lock_wait: '7s', idle: '1min' });
    });
  });

  it.runIf(isMysql)('keep the time zone and number options of the application', async () => {
    await withSource(backend, { timezone: '+02:00', extra: { connectionLimit: 1, decimalNumbers: true } }, async (ds) => {
      const [row] = (await ds.query("select cast('2026-01-01 02:00:00' as datetime) as at, 1.5 as number_, cast(9007199254740993 as unsigned) as big")) as Record<
        string,
        unknown
      >[];
      expect(row).toEqual({ at: new Date('2026-01-01T00:00:00Z'), number_: 1.5, big: '9007199254740993' });
    });
  });
});
