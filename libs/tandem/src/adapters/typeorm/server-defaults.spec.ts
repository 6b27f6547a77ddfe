/** A server may be set so that values are cut short or break out of their quotes, and statements do not commit or commit too much. Sessions of Tandem have none of that. */
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeServers } from '../../../../../test/support/backends.js';
import { OwnMysql } from '../../../../../test/support/own-mysql.js';
import { OwnPostgres } from '../../../../../test/support/own-postgres.js';
import { poolsOf } from './acquire.js';
import { sqlOf, sqlOutside } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';
import { Clock } from '../../kernel/clock.js';

const MODES = {
  mariadb: 'NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,SIMULTANEOUS_ASSIGNMENT,EMPTY_STRING_IS_NULL,ORACLE,PIPES_AS_CONCAT',
  mysql: 'NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT',
} as const;
const BREAKS_OUT = "\\', 9), (2, 'in', 9) -- ";

const kinds = OwnMysql.available.map((name) => ({ name }));

describeServers('on a $name with dangerous defaults', kinds, ({ name }) => {
  let server: OwnMysql;
  let ds: DataSource;
  let plain: DataSource;
  beforeAll(async () => {
    server = await OwnMysql.create(name, `--sql-mode=${MODES[name]}`, '--autocommit=0', '--transaction-isolation=SERIALIZABLE');
    const { dataSourceOptions } = await server.backend.create();
    plain = await new DataSource({ ...dataSourceOptions, poolSize: 1 } as DataSourceOptions).initialize();
    await plain.query('SET SESSION autocommit = 1');
    await plain.query("SET GLOBAL completion_type = 'CHAIN', GLOBAL sql_select_limit = 1, GLOBAL sql_auto_is_null = 1, GLOBAL sql_safe_updates = 1");
    ds = await (await tandemDataSource({ ...dataSourceOptions, logging: false } as DataSourceOptions)).initialize();
    poolsOf(ds).configure({ commandPoolSize: 2, workerPoolSize: 2, queryPoolSize: 2 });
    await ds.query('CREATE TABLE item (id int PRIMARY KEY, name char(40) NOT NULL, n int NOT NULL DEFAULT 0)');
  });
  afterAll(async () => {
    await ds?.destroy();
    await plain?.destroy();
    await server?.remove();
  });

  const units = () => new TypeOrmUnitOfWork(ds, new Clock());
  const ways: Record<string, (text: string, params: readonly unknown[]) => Promise<unknown>> = {
    'outside of a unit': (text, params) => ds.query(text, [...params]),
    'in a command': (text, params) => units().run((unit) => sqlOf(unit).query(text, params)),
    'in a batch': (text, params) => units().run((unit) => sqlOf(unit).query(text, params), { kind: 'consumer' }),
    'by Tandem itself': (text, params) => sqlOutside(ds, (sql) => sql.query(text, params)),
  };

  it.each(Object.keys(ways))('a value stays a value, %s', async (way) => {
    await ds.query('DELETE FROM item');
    await ways[way]!('INSERT INTO item (id, name, n) VALUES (?, ?, 1)', [1, BREAKS_OUT]);
    expect(await ds.query('SELECT id, name, n FROM item')).toEqual([{ id: 1, name: BREAKS_OUT.trimEnd(), n: 1 }]);
  });

  it.each(Object.keys(ways))('a text that is too long is refused, %s', async (way) => {
    await expect(ways[way]!('INSERT INTO item (id, name) VALUES (?, ?)', [3, 'x'.repeat(41)])).rejects.toThrow(/too long/i);
  });

  it.each(Object.keys(ways))('what is written is committed, and all of it is read, %s', async (way) => {
    await ds.query('DELETE FROM item');
    for (const id of [1, 2, 3]) await ways[way]!('INSERT INTO item (id, name) VALUES (?, ?)', [id, 'n']);
    expect(await plain.query('SELECT id FROM item ORDER BY id')).toHaveLength(3);
    expect(await ways[way]!('SELECT id FROM item WHERE n = ? ORDER BY id', [0])).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
  });

  it('an assignment sees the one before it, and an empty text is no NULL', async () => {
    await ds.query('DELETE FROM item');
    await ds.query("INSERT INTO item (id, name) VALUES (1, '')");
    await ds.query('UPDATE item SET n = n + 1, id = n + 1');
    expect(await ds.query('SELECT id, name, n FROM item')).toEqual([{ id: 2, name: '', n: 1 }]);
  });

  it.each(Object.keys(ways))('no setting of the server is left that would change what a statement does, %s', async (way) => {
    const isolation = { mariadb: '@@SESSION.tx_isolation', mysql: '@@SESSION.transaction_isolation' }[name];
    const text = `SELECT @@SESSION.completion_type AS completion, @@SESSION.sql_auto_is_null AS auto, @@SESSION.sql_safe_updates AS safe, ${isolation} AS isolation, @@SESSION.sql_mode AS modes`;
    const [{ modes, ...rest }] = (await ways[way]!(text, [])) as [{ modes: string }];
    expect(Object.values(rest).map(String)).toEqual(['NO_CHAIN', '0', '0', 'READ-COMMITTED']);
    expect(modes.split(',')).toEqual(expect.arrayContaining(['PIPES_AS_CONCAT', 'STRICT_TRANS_TABLES']));
    expect(modes).not.toMatch(/NO_BACKSLASH_ESCAPES|PAD_CHAR|SIMULTANEOUS|EMPTY_STRING|ORACLE/);
  });

  it('modes of the application stay', async () => {
    expect(await ds.query("SELECT 'a' || 'b' AS text")).toEqual([{ text: 'ab' }]);
  });
});

/** As `ALTER ROLE … SET` could have them, too. */
const POSTGRES = [
  'default_transaction_isolation=serializable',
  'datestyle=German',
  'extra_float_digits=-5',
  'intervalstyle=sql_standard',
  'standard_conforming_strings=off',
  'transform_null_equals=on',
];

describeServers('on a $name with dangerous defaults', OwnPostgres.available ? [{ name: 'postgres' }] : [], () => {
  let server: OwnPostgres;
  let ds: DataSource;
  beforeAll(async () => {
    server = await OwnPostgres.create(...POSTGRES);
    const { dataSourceOptions } = await server.backend.create();
    ds = await (await tandemDataSource({ ...dataSourceOptions, logging: false } as DataSourceOptions)).initialize();
    await ds.query('CREATE TABLE item (id int PRIMARY KEY, day date, share float8, span interval)');
  });
  afterAll(async () => {
    await ds?.destroy();
    await server?.remove();
  });

  it('reads what was written, and null equals nothing', async () => {
    const values = { id: 1, day: '2026-07-04', share: 0.1 + 0.2, span: '1 day 02:00:00' };
    const units = new TypeOrmUnitOfWork(ds, new Clock());
    await units.run((unit) => sqlOf(unit).query('INSERT INTO item VALUES (?, ?, ?, ?)', Object.values(values)));
    const read = 'SELECT id, day::text AS day, share, span::text AS span FROM item';
    expect(await ds.query(read)).toEqual([values]);
    expect(await units.run((unit) => sqlOf(unit).query(read), { kind: 'consumer' })).toEqual([values]);
    expect(await ds.query("SELECT '07/04/2026'::date = '2026-07-04'::date AS same")).toEqual([{ same: true }]);
    expect(await ds.query('SELECT id FROM item WHERE id = NULL OR NULL = NULL')).toEqual([]);
    expect(await ds.query(String.raw`SELECT 'a\b' AS text, current_setting('transaction_isolation') AS isolation`)).toEqual([
      { text: String.raw`a\b`, isolation: 'read committed' },
    ]);
  });
});
