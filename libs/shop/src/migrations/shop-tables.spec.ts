import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../test/support/backends.js';
import { shopDatabase, type ShopDatabase } from '../../../../test/support/shop-database.js';
import { CountrySales } from '../orders/read/country-sales.js';
import { CustomerSpending } from '../orders/read/customer-spending.js';
import { OrderView } from '../orders/read/order-view.js';
import { salesDocument } from '../orders/sales-document.js';
import { OrderLine } from '../orders/write/order-line.js';
import { Order } from '../orders/write/order.js';
import { ReturnLine } from '../orders/write/return-line.js';
import { Return } from '../orders/write/return.js';
import { insertOnce, isDuplicate } from '../persistence/insert-once.js';
import { shopEntities } from '../shop-entities.js';
import { EmailDirectory } from '../users/read/email-directory.js';
import { UserView } from '../users/read/user-view.js';
import { User } from '../users/write/user.js';

const document = salesDocument({
  id: 'order-1',
  customerId: 'ann',
  country: "Côte d'Ivoire 🇨🇮",
  at: '2026-03-29T01:30:00.123Z',
  lines: Array.from({ length: 500 }, (_, index) => ({ sku: `SKU-${'x'.repeat(60 - String(index).length)}${index}`, quantity: 1_000_000, unitPrice: '1999.9999' })),
});
const ann = { id: 'ann', name: 'Ann 🦊', email: 'Ann@example.com', emailKey: 'ann@example.com', status: 'active' as const, version: 1 };

describe.each(sqlBackends())('the shop tables on $name', (backend) => {
  let database: ShopDatabase;
  let source: DataSource;

  beforeAll(async () => {
    database = await shopDatabase(backend);
    ({ source } = database);
  });
  afterAll(() => database.close());

  it('hold every entity, at its largest, unharmed', async () => {
    const rows: [new () => object, object | object[]][] = [
      [User, ann],
      [Order, Order.place(document)],
      [OrderLine, OrderLine.allOf(document)],
      [Return, Return.record(document)],
      [ReturnLine, ReturnLine.allOf(document)],
      [UserView, { id: 'ann', name: ann.name, email: ann.email, status: 'active', createdAt: new Date('2026-03-29T01:30:00.123Z'), searchText: 'ann' }],
      [EmailDirectory, { emailKey: 'ann@example.com', userId: 'ann' }],
      [OrderView, { id: 'order-1', customerId: null, country: document.country, status: 'placed', placedAt: new Date(document.at), total: document.total, lines: document.lines }],
      [CustomerSpending, { customerId: 'ann', orders: 1, cancelled: 0, returns: 0, spent: '-2147483647000000000000.0001' }],
      [CountrySales, { country: document.country, orders: 1, cancelled: 0, returns: 0, netSales: '2147483647000000000000.0001' }],
    ];
    for (const [entity, row] of rows) {
      const repository = source.getRepository(entity);
      await repository.insert(row);
      const found = await repository.find();
      expect(JSON.parse(JSON.stringify(found)), entity.name).toEqual(
        expect.arrayContaining((JSON.parse(JSON.stringify([row].flat())) as object[]).map((each) => expect.objectContaining(each))),
      );
      expect(found).toHaveLength([row].flat().length);
    }
    expect(rows.map(([entity]) => entity)).toEqual(expect.arrayContaining(shopEntities));
  });

  it('tell keys apart that differ in case or accents only', async () => {
    const sales = source.getRepository(CountrySales);
    await sales.insert([{ country: 'reunion' }, { country: 'Reunion' }, { country: 'Réunion' }]);
    expect(await sales.findOneByOrFail({ country: 'Réunion' })).toEqual({ country: 'Réunion', orders: 0, cancelled: 0, returns: 0, netSales: '0.0000' });
    const orders = source.getRepository(Order);
    expect(await insertOnce(orders, Object.assign(Order.place(document), { id: 'ORDER-1' }))).toBe(true);
  });

  it('refuse a second row of a key without ending the transaction around it', async () => {
    const twice = { ...ann, id: 'bob', emailKey: 'bob@example.com' };
    const outcome = await source.transaction(async (manager) => {
      const users = manager.getRepository(User);
      const inserted = [await insertOnce(users, twice), await insertOnce(users, twice), await insertOnce(users, { ...twice, id: 'eve' })];
      return { inserted, bob: await users.countBy({ id: 'bob' }), eve: await users.countBy({ id: 'eve' }) };
    });
    expect(outcome).toEqual({ inserted: [true, false, false], bob: 1, eve: 0 });
  });

  it('lets only one of many that insert the same at once do it', async () => {
    const orders = source.getRepository(Order);
    const order = Object.assign(Order.place(document), { id: 'order-2' });
    const inserted = await Promise.all(Array.from({ length: 8 }, () => insertOnce(orders, order)));
    expect(inserted.filter(Boolean)).toHaveLength(1);
  });

  it('passes on any other error of the database', async () => {
    const orders = source.getRepository(Order);
    const refused: unknown = await insertOnce(orders, { ...Order.place(document), id: 'x'.repeat(65) }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Error);
    expect(isDuplicate(refused)).toBe(false);
  });

  it('go without a trace, and come again after a migration that broke off', async () => {
    await source.undoLastMigration();
    await expect(source.getRepository(User).count()).rejects.toThrow();
    await source.runMigrations();
    await source.query('DELETE FROM migrations');
    await source.query(`DROP TABLE shop_country_sales`);
    await source.runMigrations();
    expect(await source.getRepository(CountrySales).count()).toBe(0);
  });
});
