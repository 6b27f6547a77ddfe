import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Column, CreateDateColumn, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn, Unique, UpdateDateColumn, VersionColumn } from 'typeorm';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import type { RowChange, RowChanges } from '../../read/projection/row-store.js';
import { TypeOrmRowStore } from './row-store.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

class Address {
  @Column('varchar', { length: 40, nullable: true }) city!: string | null;
  @Column('int', { default: 7 }) floor!: number;
}

const cents = { to: (value: number | null | undefined) => value && value * 100, from: (value: number | null) => value && value / 100 };

@Entity('every_column')
class EveryColumn {
  @PrimaryColumn('varchar', { length: 40 }) id!: string;
  @Column('varchar', { length: 20, default: 'new' }) lastStatus!: string;
  @Column() plain!: string;
  @Column({ default: 3 }) count!: number;
  @Column('decimal', { precision: 30, scale: 10, default: 0 }) total!: string;
  @Column('bigint', { default: 0 }) big!: string;
  @Column({ default: false }) active!: boolean;
  @Column('simple-json', { nullable: true }) facts!: { tags: string[] } | null;
  @Column('json', { nullable: true }) document!: { n: number; tags: string[] } | null;
  @Column({ precision: 6, nullable: true }) at!: Date;
  @Column('date', { nullable: true }) day!: string | null;
  @Column('int', { nullable: true, transformer: cents }) price!: number | null;
  @Column('double precision', { nullable: true }) ratio!: number | null;
  @Column({ name: 'odd name', type: 'varchar', length: 10, default: () => "'by-db'" }) odd!: string;
  @Column(() => Address) address!: Address;
  @VersionColumn() version!: number;
  @CreateDateColumn({ precision: 6 }) createdAt!: Date;
  @UpdateDateColumn({ precision: 6 }) updatedAt!: Date;
}

@Entity('email_row')
@Unique(['email'])
class EmailRow {
  @PrimaryColumn('int') id!: number;
  @Column('varchar', { length: 60, default: '' }) email!: string;
  @Column('int', { default: 0 }) seen!: number;
}

@Entity('sales')
class Sales {
  @PrimaryColumn('varchar', { length: 40 }) country!: string;
  @PrimaryColumn('date') day!: string;
  @Column('int', { default: 0 }) orders!: number;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) netSales!: string;
  @Column('decimal', { precision: 19, scale: 4, nullable: true }) refunded!: string | null;
  @Column('varchar', { length: 10, default: 'EUR' }) currency!: string;
}

@Entity('generated_key')
class GeneratedKey {
  @PrimaryGeneratedColumn() id!: number;
}

class NoEntity {}

const noChanges: RowChanges = { inserts: [], updates: [], deletes: [] };

describe.each(sqlBackends())('rows on $name', (backend) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let unitOfWork: TypeOrmUnitOfWork;
  let store: TypeOrmRowStore;
  const entities = [EveryColumn, EmailRow, Sales, GeneratedKey];

  beforeAll(async () => {
    database = await backend.create();
    dataSource = await tandemDataSource({ ...database.dataSourceOptions, entities, synchronize: true } as never);
    await dataSource.initialize();
    unitOfWork = new TypeOrmUnitOfWork(dataSource, new Clock());
    store = new TypeOrmRowStore(dataSource);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    for (const entity of entities) await dataSource.getRepository(entity).clear();
  });

  const batch = <T>(work: (unit: Unit) => Promise<T>): Promise<T> => unitOfWork.run(work, { kind: 'consumer' });
  const write = (entity: new () => object, changes: Partial<RowChanges>) => batch((unit) => store.write(unit, entity, { ...noChanges, ...changes }));
  const made = <T extends object>(entity: new () => T, key: Record<string, string | number>, values: Partial<T>): RowChange => ({
    key,
    row: Object.assign(store.fresh(entity, key), values),
  });
  /** Loads the rows, lets `change` at them and writes them back. */
  const changed = <T extends object>(entity: new () => T, keys: Record<string, string | number>[], change: (row: T) => void) =>
    batch(async (unit) => {
      const updates = [...(await store.load(unit, entity, keys)).values()].map((row) => {
        change(row as T);
        return { key: Object.fromEntries(store.shape(entity).keys.map((name) => [name, (row as never)[name]])), row };
      });
      await store.write(unit, entity, { ...noChanges, updates });
    });

  it('reads back what was written, column by column, as a repository reads it', async () => {
    const at = new Date('2024-03-31T01:30:15.123Z');
    const values: Partial<EveryColumn> = {
      plain: "it's ?",
      count: -5,
      total: '12345678901234567890.0123456789',
      big: '9007199254740993',
      active: true,
      facts: { tags: ['a?', '"'] },
      document: { n: 1.5, tags: [] },
      at,
      day: '2024-02-29',
      price: 12.5,
      ratio: 0.1,
      odd: '$1',
    };
    await write(EveryColumn, { inserts: [made(EveryColumn, { id: 'a' }, values)] });

    const read = await dataSource.getRepository(EveryColumn).findOneByOrFail({ id: 'a' });
    expect(read).toMatchObject({ ...values, lastStatus: 'new', version: 1 });
    expect(read.address).toEqual({ city: null, floor: 7 });
    expect(read.createdAt).toBeInstanceOf(Date);
    const loaded = await batch((unit) => store.load(unit, EveryColumn, [{ id: 'a' }, { id: 'b' }]));
    expect([...loaded.keys()]).toEqual(['a']);
    expect(loaded.get('a')).toEqual(read);
    expect(loaded.get('a')).toBeInstanceOf(EveryColumn);
  });

  it('gives a new row the defaults that it would be loaded with, and leaves computed ones to the database', async () => {
    const fresh = store.fresh(EveryColumn, { id: 'a' }) as EveryColumn;
    expect(fresh).toMatchObject({ id: 'a', lastStatus: 'new', count: 3, total: '0.0000000000', big: '0', active: false, at: null, price: null });
    expect(fresh.odd).toBeUndefined();
    fresh.plain = 'x';
    await write(EveryColumn, { inserts: [{ key: { id: 'a' }, row: fresh }] });
    const read = await dataSource.getRepository(EveryColumn).findOneByOrFail({ id: 'a' });
    expect(read.odd).toBe('by-db');
    expect(read).toMatchObject({ lastStatus: fresh.lastStatus, count: fresh.count, total: fresh.total, big: fresh.big, active: fresh.active });
  });

  it('changes only what a handler changed: microseconds of other columns survive', async () => {
    const keys = ['a', 'b', 'c'].map((id) => ({ id }));
    await write(EveryColumn, { inserts: keys.map((key) => made(EveryColumn, key, { plain: 'x', at: new Date(0) })) });
    const { escape } = dataSource.driver;
    const q = (name: string) => escape.call(dataSource.driver, name);
    await dataSource.query(`UPDATE ${q('every_column')} SET ${q('at')} = '2024-01-01 10:00:00.123456', ${q('facts')} = '{ "tags": [] }'`);

    await changed(EveryColumn, keys, (row) => {
      if (row.id === 'a') row.at = new Date('2025-01-01T00:00:00Z');
      if (row.id === 'b') row.total = '1.5';
      row.document = { n: 1, tags: [row.id] };
    });

    const micros = backend.dialect === 'mysql' ? 'MICROSECOND(`at`)' : `extract(microseconds from "at")::int % 1000000`;
    const rows: { id: string; us: number; facts: string }[] = await dataSource.query(`SELECT id, ${micros} AS us, facts FROM ${q('every_column')} ORDER BY id`);
    expect(rows.map(({ id, us, facts }) => [id, Number(us), facts])).toEqual([
      ['a', 0, '{ "tags": [] }'],
      ['b', 123456, '{ "tags": [] }'],
      ['c', 123456, '{ "tags": [] }'],
    ]);
    const [a, b] = await dataSource.getRepository(EveryColumn).find({ order: { id: 'ASC' } });
    expect(a).toMatchObject({ at: new Date('2025-01-01T00:00:00Z'), total: '0.0000000000', document: { n: 1, tags: ['a'] }, version: 2 });
    expect(b).toMatchObject({ total: '1.5000000000', document: { n: 1, tags: ['b'] }, version: 2 });
  });

  it('does not write a row that nobody changed, and leaves a column that was set to undefined', async () => {
    await write(EveryColumn, { inserts: ['a', 'b'].map((id) => made(EveryColumn, { id }, { plain: 'x' })) });
    await changed(EveryColumn, [{ id: 'a' }, { id: 'b' }], (row) => {
      if (row.id === 'b') row.plain = 'y';
    });
    await changed(EveryColumn, [{ id: 'a' }, { id: 'b' }], (row) => Object.assign(row, row.id === 'a' ? { plain: undefined, count: 9 } : { plain: 'z' }));
    const rows = await dataSource.getRepository(EveryColumn).find({ order: { id: 'ASC' } });
    expect(rows.map(({ plain, count, version }) => [plain, count, version])).toEqual([
      ['x', 9, 2],
      ['z', 3, 3],
    ]);
  });

  it('writes more rows than fit into one statement, by composite keys too', async () => {
    const keys = Array.from({ length: 1_203 }, (_, i) => ({ country: `c${i % 3}`, day: new Date(Date.UTC(2000, 0, 1 + i)).toISOString().slice(0, 10) }));
    await write(Sales, { inserts: keys.map((key, i) => made(Sales, key, { orders: i })) });
    await changed(Sales, keys, (row) => (row.netSales = `${row.orders}.25`));
    const loaded = await batch((unit) => store.load(unit, Sales, keys));
    expect(loaded.size).toBe(1_203);
    expect(keys.every((key, i) => (loaded.get(JSON.stringify([key.country, key.day])) as Sales).netSales === `${i}.2500`)).toBe(true);
    await write(Sales, { deletes: keys.slice(1).map((key) => ({ key, row: {} })) });
    expect(await dataSource.getRepository(Sales).find()).toMatchObject([{ ...keys[0], netSales: '0.2500' }]);
  });

  it('never touches another row through a second UNIQUE: the duplicate is an error', async () => {
    await write(EmailRow, { inserts: [made(EmailRow, { id: 1 }, { email: 'a@x' }), made(EmailRow, { id: '2' }, { email: 'b@x' })] });
    await expect(changed(EmailRow, [{ id: 2 }], (row) => (row.email = 'a@x'))).rejects.toThrow(/duplicate/i);
    await expect(write(EmailRow, { inserts: [made(EmailRow, { id: 3 }, { email: 'a@x' })] })).rejects.toThrow(/duplicate/i);
    const rows = await dataSource.getRepository(EmailRow).find({ order: { id: 'ASC' } });
    expect(rows.map(({ id, email }) => [id, email])).toEqual([
      [1, 'a@x'],
      [2, 'b@x'],
    ]);
  });

  it('deletes before it updates and updates before it inserts, so a freed unique value can be taken', async () => {
    await write(EmailRow, { inserts: [made(EmailRow, { id: 1 }, { email: 'a@x' }), made(EmailRow, { id: 2 }, { email: 'b@x' })] });
    await batch(async (unit) => {
      const rows = await store.load(unit, EmailRow, [{ id: 1 }, { id: 2 }]);
      const second = Object.assign(rows.get('2') as EmailRow, { email: 'a@x' });
      await store.write(unit, EmailRow, {
        deletes: [{ key: { id: 1 }, row: rows.get('1')! }],
        updates: [{ key: { id: 2 }, row: second }],
        inserts: [made(EmailRow, { id: 3 }, { email: 'b@x' })],
      });
    });
    expect(await dataSource.getRepository(EmailRow).find({ order: { id: 'ASC' } })).toMatchObject([
      { id: 2, email: 'a@x' },
      { id: 3, email: 'b@x' },
    ]);
  });

  it('says so when a row that it updates is gone', async () => {
    await write(EmailRow, { inserts: [made(EmailRow, { id: 1 }, { email: 'a@x' })] });
    const lost = batch(async (unit) => {
      const row = (await store.load(unit, EmailRow, [{ id: 1 }])).get('1') as EmailRow;
      await store.write(unit, EmailRow, { ...noChanges, deletes: [{ key: { id: 1 }, row }] });
      row.seen = 1;
      await store.write(unit, EmailRow, { ...noChanges, updates: [{ key: { id: 1 }, row }] });
    });
    await expect(lost).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT' });
  });

  it('refuses NaN and values that are too long', async () => {
    await expect(write(Sales, { inserts: [made(Sales, { country: 'FR', day: '2024-01-01' }, { orders: Number.NaN })] })).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
    await write(Sales, { inserts: [made(Sales, { country: 'FR', day: '2024-01-01' }, {})] });
    await expect(changed(Sales, [{ country: 'FR', day: '2024-01-01' }], (row) => (row.currency = 'x'.repeat(11)))).rejects.toThrow(/too long|truncated/i);
  });

  const fr = { country: 'FR', day: '2024-01-01' };
  it('refuses what it cannot keep rows of', () => {
    expect(() => store.shape(GeneratedKey)).toThrow(/generated/);
    expect(() => store.shape(NoEntity)).toThrow(/NoEntity is no entity/);
    expect(store.shape(Sales)).toEqual({ keys: ['country', 'day'], columns: ['orders', 'netSales', 'refunded', 'currency'], constrained: false });
  });

  it('says so when the database takes two keys for one', async () => {
    if (backend.dialect !== 'mysql') return;
    await write(Sales, { inserts: [made(Sales, fr, {})] });
    await expect(batch((unit) => store.load(unit, Sales, [{ ...fr, country: 'fr' }]))).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
  });
});
