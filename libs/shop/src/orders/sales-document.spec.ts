import { describe, expect, it } from 'vitest';
import { OrderCancelled, OrderPlaced } from './order-events.js';
import { OrderNotifications } from './order-notifications.js';
import type { GivenDocument } from './sales-document.js';
import { salesDocument } from './sales-document.js';
import { Order } from './write/order.js';
import { SendOrderConfirmation } from '../mail/send-order-confirmation.js';

const given = (changes: Partial<GivenDocument> = {}): GivenDocument => ({
  id: 'order-1',
  customerId: 'ann',
  country: 'France',
  at: '2026-01-31T10:30:00+01:00',
  lines: [
    { sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.95' },
    { sku: 'CUP', quantity: 3, unitPrice: '0.3333' },
  ],
  ...changes,
});

describe('salesDocument', () => {
  it('writes prices and total with four places, and the moment in UTC', () => {
    expect(salesDocument(given())).toMatchObject({ at: '2026-01-31T09:30:00.000Z', total: '40.8999', lines: [{ unitPrice: '19.9500' }, { unitPrice: '0.3333' }] });
  });

  it.each([
    ['the moment in another zone', { at: '2026-01-31T09:30:00.000Z' }],
    ['a price with more zeros', { lines: [{ sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.9500' }, given().lines[1]!] }],
    ['spaces around the country', { country: ' France ' }],
    ['another id', { id: 'order-2' }],
  ])('has the same content with %s', (_, changes) => {
    expect(salesDocument(given(changes)).contentHash).toBe(salesDocument(given()).contentHash);
  });

  it.each([
    ['another customer', { customerId: 'bob' }],
    ['no customer', { customerId: null }],
    ['another country', { country: 'france' }],
    ['another moment', { at: '2026-01-31T09:30:00.001Z' }],
    ['lines in another order', { lines: [...given().lines].reverse() }],
    ['another price', { lines: [{ sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.9501' }, given().lines[1]!] }],
  ])('has other content with %s', (_, changes) => {
    expect(salesDocument(given(changes)).contentHash).not.toBe(salesDocument(given()).contentHash);
  });

  it.each([
    ['id', { id: '' }],
    ['customerId', { customerId: 'a b' }],
    ['country', { country: 'x'.repeat(61) }],
    ['at', { at: '2026-02-30T00:00:00Z' }],
    ['at', { at: '2026-01-31T09:30:00' }],
    ['at', { at: '0999-01-31T09:30:00Z' }],
    ['lines', { lines: [] }],
    ['lines', { lines: Array.from({ length: 501 }, () => given().lines[0]!) }],
    ['lines.0.sku', { lines: [{ sku: '-', quantity: 1, unitPrice: '1' }] }],
    ['lines.0.quantity', { lines: [{ sku: 'a', quantity: 0, unitPrice: '1' }] }],
    ['lines.0.quantity', { lines: [{ sku: 'a', quantity: 1.5, unitPrice: '1' }] }],
    ['lines.0.unitPrice', { lines: [{ sku: 'a', quantity: 1, unitPrice: '-1' }] }],
    ['lines', { lines: [{ sku: 'a', quantity: 1_000_000, unitPrice: '1000000' }] }],
  ])('refuses a wrong %s', (field, changes) => {
    expect(() => salesDocument(given(changes))).toThrow(expect.objectContaining({ code: 'SHOP_INVALID', field }));
  });
});

describe('Order', () => {
  it('is cancelled once, with what it takes back', () => {
    const order = Order.place(salesDocument(given()));
    expect(order.cancel()).toEqual(new OrderCancelled('order-1', 'ann', 'France', '40.8999'));
    expect(order.cancel()).toBeUndefined();
    expect(order.status).toBe('cancelled');
  });
});

describe('OrderNotifications', () => {
  it('confirms an order to its customer, with a job that carries the id only', () => {
    expect(new OrderNotifications().confirm(new OrderPlaced(salesDocument(given())))).toEqual(new SendOrderConfirmation('order-1'));
  });

  it('writes to nobody about a sale over the counter', () => {
    expect(new OrderNotifications().confirm(new OrderPlaced(salesDocument(given({ customerId: null }))))).toBeUndefined();
  });
});
