import { DataSource } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { inTransaction, isDuplicateKey, isRetryable, sqlOutside, sqlTransaction, valuesList, type Sql } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';

describe.each(sqlBackends())('Sql on $name', (backend) => {
  const isMysql = backend.dialect === 'mysql';
  let database: TestDatabase;
  let ds: DataSource;
  const query = <R>(text: string, params?: readonly unknown[]) => sqlOutside(ds, (sql) => sql.query<R>(text, params));

  beforeAll(async () => {
    database = await backend.create();
    ds = await (await tandemDataSource({ ...database.dataSourceOptions })).initialize();
    await query(
      `create table thing (id bigint primary key, name varchar(100), at ${isMysql ? 'datetime(6)' : 'timestamp(6)'}, done ${isMysql ? 'tinyint(1)' : 'boolean'}, doc ${isMysql ? 'json' : 'text'})`,
    );
  });
  afterAll(async () => {
    await ds.destroy();
    await database.drop();
  });
  beforeEach(() => query('delete from thing'));

  const names = async () => (await query<{ name: string }[]>('select name from thing order by id')).map(({ name }) => name);
  const insert = (sql: Sql, id: number, name = `n${id}`) => sql.query('insert into thing (id, name) values (?, ?)', [id, name]);

  it('binds values as they are, whatever they contain, and dates as UTC', async () => {
    const at = new Date('2026-03-29T01:30:00.123Z');
    const nasty = `it's "?" \\ $1 ; -- drop /* ? */ \u0000`.replace('\u0000', '');
    await query('insert into thing (id, name, at, done, doc) values (?, ?, ?, ?, ?)', [9_007_199_254_740_993n, nasty, at, true, '{"n":9007199254740993}']);
    const atText = isMysql ? "date_format(at, '%Y-%m-%d %H:%i:%s.%f')" : "to_char(at, 'YYYY-MM-DD HH24:MI:SS.US')";
    const [row] = await query<Record<string, unknown>[]>(`select id, name, ${atText} as at, doc from thing where done = ? and name <> '?' -- not this ?`, [true]);
    expect(row).toEqual({
      id: '9007199254740993',
      name: nasty,
      at: '2026-03-29 01:30:00.123000',
      doc: backend.name === 'mysql' ? '{"n": 9007199254740993}' : '{"n":9007199254740993}',
    }); // MySQL writes its JSON anew
  });

  it('expands lists, and inserts many rows with valuesList', async () => {
    const { text, params } = valuesList(
      [1, 2, 3, 4].map((id) => ({ id, name: `n${id}` })),
      ['id', 'name'],
    );
    await query(`insert into thing (id, name) values ${text}`, params);
    await query('delete from thing where id in (?) and name <> ?', [[1, 2, 3], 'n2']);
    expect(await names()).toEqual(['n2', 'n4']);
  });

  it('answers rows to SELECT, and affectedRows to everything else', async () => {
    const inserted = await query<object>('insert into thing (id, name) values (?, ?), (?, ?)', [1, 'a', 2, null]);
    expect(inserted).toMatchObject({ affectedRows: 2 });
    expect(await query('select name from thing where id = ?', [3])).toEqual([]);
    if (!isMysql) expect(await query('update thing set name = ? where id = ? returning name', ['b', 1])).toEqual([{ name: 'b' }]);
  });

  it('refuses an empty list, a missing parameter and a plain object before anything is sent', async () => {
    for (const [text, params] of [
      ['select 1 where 1 in (?)', [[]]],
      ['select ?, ?', [1]],
      ['select ?', [{ a: 1 }]],
      ["select '?'", [1]],
    ] as const) {
      await expect(query(text, params), text).rejects.toMatchObject({ code: 'TANDEM_STATEMENT_INVALID' });
    }
    expect(() => valuesList([], [])).toThrow(expect.objectContaining({ code: 'TANDEM_STATEMENT_INVALID' }));
  });

  it("throws the driver's own error, which the classifiers know", async () => {
    await sqlOutside(ds, (sql) => insert(sql, 1));
    const error = await sqlOutside(ds, (sql) => insert(sql, 1)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: isMysql ? 'ER_DUP_ENTRY' : '23505' });
    expect([isDuplicateKey(error), isRetryable(error)]).toEqual([true, false]);
    const wrapped = await ds.query('insert into thing (id) values (1)').catch((reason: unknown) => reason);
    expect(isDuplicateKey(wrapped)).toBe(true);
  });

  it('a transaction of its own commits as a whole or not at all', async () => {
    await sqlTransaction(ds, (sql) => Promise.all([insert(sql, 1), insert(sql, 2)]));
    const failing = sqlTransaction(ds, async (sql) => {
      await insert(sql, 3);
      throw new Error('abort');
    });
    await expect(failing).rejects.toThrow('abort');
    expect(await names()).toEqual(['n1', 'n2']);
  });

  it('tells whether a reply came from inside a transaction', async () => {
    const inside = await sqlTransaction(ds, (sql) => insert(sql, 1));
    const outside = await sqlOutside(ds, (sql) => insert(sql, 2));
    expect([inTransaction(inside), inTransaction(outside)]).toEqual([true, !isMysql]);
    expect(inTransaction([{ id: 1 }])).toBe(true);
  });
});
