import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Check, Column, type DataSource, Entity, PrimaryColumn, Unique, VersionColumn } from 'typeorm';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { TypeOrmRowStore } from './row-store.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity('email_row')
@Unique(['email'])
class EmailRow {
  @PrimaryColumn('int') id!: number;
  @Column('varchar', { length: 60, default: '' }) email!: string;
  @Column('int', { default: 0 }) seen!: number;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) spent!: string;
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

@Entity('stock')
@Check('"left_over" >= 0'.replaceAll('"', ''))
class Stock {
  @PrimaryColumn('bigint') id!: string;
  @Column('int', { name: 'left_over', default: 100 }) left!: number;
  @VersionColumn() version!: number;
}

describe.each(sqlBackends())('adding to rows on $name', (backend) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let unitOfWork: TypeOrmUnitOfWork;
  let store: TypeOrmRowStore;
  const entities = [EmailRow, Sales, Stock];

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

  const add = (entity: new () => object, ...deltas: [Record<string, string | number>, Record<string, string>][]) =>
    unitOfWork.run(
      (unit) =>
        store.add(
          unit,
          entity,
          deltas.map(([key, amounts]) => ({ key, add: new Map(Object.entries(amounts)) })),
        ),
      { kind: 'consumer' },
    );
  const fr = { country: 'FR', day: '2024-01-01' };
  const uk = { country: 'UK', day: '2024-01-01' };

  it('adds to rows, and makes the missing ones at their defaults', async () => {
    await add(Sales, [fr, { orders: '1', netSales: '0.1000' }], [uk, { orders: '2' }]);
    await add(Sales, [uk, { netSales: '-0.3' }], [fr, { netSales: '123456789012345.0001', refunded: '2.5' }]);
    expect(await dataSource.getRepository(Sales).find({ order: { country: 'ASC' } })).toEqual([
      Object.assign(new Sales(), { ...fr, orders: 1, netSales: '123456789012345.1001', refunded: '2.5000', currency: 'EUR' }),
      Object.assign(new Sales(), { ...uk, orders: 2, netSales: '-0.3000', refunded: null, currency: 'EUR' }),
    ]);
  });

  it('adds to defaults that are not zero, below a CHECK that the amount alone would break', async () => {
    await add(Stock, [{ id: '9007199254740993' }, { left: '-30' }], [{ id: '5' }, { left: '1' }]);
    await add(Stock, [{ id: '9007199254740993' }, { left: '-60' }]);
    expect(await dataSource.getRepository(Stock).findOneByOrFail({ id: '9007199254740993' })).toMatchObject({ left: 10, version: 3 });
    expect(await dataSource.getRepository(Stock).findOneByOrFail({ id: '5' })).toMatchObject({ left: 101 });
  });

  it('does not add to another row through a second UNIQUE', async () => {
    await dataSource.getRepository(EmailRow).insert({ id: 1, email: '' });
    await add(EmailRow, [{ id: 1 }, { seen: '4', spent: '123456789012345.0001' }]);
    await add(EmailRow, [{ id: 1 }, { spent: '0.0001' }]);
    await expect(add(EmailRow, [{ id: 1 }, { seen: '1' }], [{ id: 2 }, { seen: '10' }])).rejects.toThrow();
    expect(await dataSource.getRepository(EmailRow).find()).toMatchObject([{ id: 1, seen: 4, spent: '123456789012345.0002' }]);
  });

  it('loses nothing when many batches add to the same rows at once', async () => {
    const rounds = Array.from({ length: 20 }, (_, i) => i);
    await Promise.all(
      rounds.map((i) =>
        add(
          Sales,
          ...((i % 2
            ? [
                [fr, { orders: '1', netSales: '0.01' }],
                [uk, { orders: '1' }],
              ]
            : [
                [uk, { orders: '1' }],
                [fr, { orders: '1', netSales: '0.01' }],
              ]) as never[]),
        ),
      ),
    );
    expect(await dataSource.getRepository(Sales).find({ order: { country: 'ASC' } })).toMatchObject([
      { orders: 20, netSales: '0.2000' },
      { orders: 20, netSales: '0.0000' },
    ]);
  });

  it('refuses an amount with more places than the column keeps, and a column that is no number', async () => {
    await expect(add(Sales, [fr, { netSales: '0.00005' }])).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
    await expect(add(Sales, [fr, { orders: '1.5' }])).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
    await expect(add(Sales, [fr, { currency: '1' }])).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
  });
});
