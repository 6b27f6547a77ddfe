import type { EventBus } from '@nestjs/cqrs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { shopDatabase, type ShopDatabase } from '../../../../../test/support/shop-database.js';
import { OrderCancelled, OrderPlaced, ReturnRecorded } from '../order-events.js';
import type { GivenDocument } from '../sales-document.js';
import { salesDocument } from '../sales-document.js';
import { CancelOrder, CancelOrderHandler } from './cancel-order.js';
import { OrderLine } from './order-line.js';
import { Order } from './order.js';
import { PlaceOrder, PlaceOrderHandler, type Written } from './place-order.js';
import { RecordReturn, RecordReturnHandler } from './record-return.js';
import { ReturnLine } from './return-line.js';
import { Return } from './return.js';

const given = (changes: Partial<GivenDocument> = {}): GivenDocument => ({
  id: 'doc-1',
  customerId: 'ann',
  country: 'France',
  at: '2026-01-31T09:30:00Z',
  lines: [
    { sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.95' },
    { sku: 'CUP', quantity: 1, unitPrice: '0.3333' },
  ],
  ...changes,
});
const other = given({ country: 'Spain' });

describe.each(sqlBackends())('order commands on $name', (backend) => {
  let database: ShopDatabase;
  const published: object[] = [];
  const events = { publish: (event: object) => void published.push(event) } as unknown as EventBus;
  let place: (document: GivenDocument) => Promise<Written>;
  let recordReturn: (document: GivenDocument) => Promise<Written>;
  let cancel: (id: string) => Promise<{ id: string }>;

  beforeAll(async () => {
    database = await shopDatabase(backend);
    const { source } = database;
    place = (document) => new PlaceOrderHandler(source.getRepository(Order), source.getRepository(OrderLine), events).execute(new PlaceOrder(document));
    recordReturn = (document) => new RecordReturnHandler(source.getRepository(Return), source.getRepository(ReturnLine), events).execute(new RecordReturn(document));
    cancel = (id) => source.transaction('READ COMMITTED', (unit) => new CancelOrderHandler(unit.getRepository(Order), events).execute(new CancelOrder(id)));
  });
  beforeEach(async () => {
    for (const entity of [OrderLine, Order, ReturnLine, Return]) await database.source.getRepository<object>(entity).deleteAll();
    published.length = 0;
  });
  afterAll(() => database.close());

  it('place an order with its lines, and answer a repeat as the first time', async () => {
    expect(await place(given())).toEqual({ id: 'doc-1', created: true });
    expect(await place(given({ at: '2026-01-31T10:30:00+01:00' }))).toEqual({ id: 'doc-1', created: false });
    expect(published).toEqual([new OrderPlaced(salesDocument(given()))]);
    expect(await database.source.getRepository(OrderLine).find({ order: { lineNo: 'ASC' } })).toMatchObject([
      { orderId: 'doc-1', lineNo: 1, sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.9500' },
      { orderId: 'doc-1', lineNo: 2, sku: 'CUP', quantity: 1, unitPrice: '0.3333' },
    ]);
  });

  it('refuse other content under an id that is taken', async () => {
    await place(given());
    await recordReturn(given());
    await expect(place(other)).rejects.toMatchObject({ code: 'SHOP_ORDER_CONFLICT', data: { id: 'doc-1' } });
    await expect(recordReturn(other)).rejects.toMatchObject({ code: 'SHOP_RETURN_CONFLICT', data: { id: 'doc-1' } });
    expect(published).toHaveLength(2);
  });

  it('place an order once when it is sent many times at once', async () => {
    const written = await Promise.all(Array.from({ length: 8 }, () => place(given())));
    expect(written.filter(({ created }) => created)).toHaveLength(1);
    expect(published).toHaveLength(1);
  });

  it('record a return, and answer a repeat as the first time', async () => {
    expect(await recordReturn(given())).toEqual({ id: 'doc-1', created: true });
    expect(await recordReturn(given())).toEqual({ id: 'doc-1', created: false });
    expect(published).toEqual([new ReturnRecorded(salesDocument(given()))]);
  });

  it('cancel an order once, and place it no second time', async () => {
    await place(given());
    await cancel('doc-1');
    await cancel('doc-1');
    expect(await place(given())).toEqual({ id: 'doc-1', created: false });
    expect(published.slice(1)).toEqual([new OrderCancelled('doc-1', 'ann', 'France', '40.2333')]);
    expect(await database.source.getRepository(Order).findOneByOrFail({ id: 'doc-1' })).toMatchObject({ status: 'cancelled', version: 2 });
  });

  it('cancel an order once when it is cancelled many times at once', async () => {
    await place(given());
    expect(await Promise.all(Array.from({ length: 8 }, () => cancel('doc-1')))).toEqual(Array(8).fill({ id: 'doc-1' }));
    expect(published).toHaveLength(2);
  });

  it('say that an order is unknown', async () => {
    await expect(cancel('nothing')).rejects.toMatchObject({ code: 'SHOP_ORDER_NOT_FOUND' });
  });

  it('write nothing of an order that breaks a rule', async () => {
    await expect(place(given({ lines: [] }))).rejects.toMatchObject({ code: 'SHOP_INVALID' });
    expect(await database.source.getRepository(Order).count()).toBe(0);
  });
});
