import { describe, expect, it } from 'vitest';
import { decideInvoice } from './invoice-line.js';

const cells = (changes: Partial<Record<'number' | 'date' | 'customer' | 'country' | 'quantity' | 'price', string>> = {}): string[] => {
  const { number = '536365', date = '12/1/2010 8:26', customer = '17850', country = 'United Kingdom', quantity = '40', price = '3.91' } = changes;
  return [number, date, customer, country, quantity, price];
};

describe('decideInvoice', () => {
  it('places an order with one line of the total quantity', () => {
    expect(decideInvoice(cells())).toMatchObject({
      kind: 'place',
      document: { id: '536365', customerId: '17850', country: 'United Kingdom', at: '2010-12-01T08:26:00.000Z', lines: [{ sku: 'INVOICE', quantity: 40, unitPrice: '3.91' }] },
    });
  });

  it('records a return of the absolute quantity', () => {
    expect(decideInvoice(cells({ number: 'C536379', quantity: '-12' }))).toMatchObject({ kind: 'return', document: { id: 'C536379', lines: [{ quantity: 12 }] } });
  });

  it('reads a blank customer as none', () => {
    expect(decideInvoice(cells({ customer: '(blank)' }))).toMatchObject({ kind: 'place', document: { customerId: null } });
  });

  it('reads the month first and the time as UTC', () => {
    expect(decideInvoice(cells({ date: '2/29/2012 23:05' }))).toMatchObject({ document: { at: '2012-02-29T23:05:00.000Z' } });
  });

  it('sees the same content in prices that are written differently', () => {
    const [one, same, other] = ['3.9', '3.9000', '3.9001'].map((price) => decideInvoice(cells({ price })));
    expect(one).toHaveProperty('contentHash');
    expect(same).toHaveProperty('contentHash', (one as { contentHash: string }).contentHash);
    expect(other).not.toHaveProperty('contentHash', (one as { contentHash: string }).contentHash);
  });

  it.each([
    ['a letter before the digits', { number: 'A563185' }],
    ['five digits', { number: '53636' }],
    ['seven digits', { number: '5363650' }],
    ['no number', { number: '' }],
    ['a small c', { number: 'c536379' }],
    ['spaces', { number: ' 536365' }],
    ['digits of another script', { number: '５３６３６５' }],
    ['no number, whatever else is wrong', { number: 'x', quantity: '0', price: '-1' }],
  ])('is no invoice: %s', (_, changes) => {
    expect(decideInvoice(cells(changes))).toEqual({ kind: 'rejected', reason: 'not_an_invoice' });
  });

  it.each([
    ['zero', { quantity: '0' }],
    ['below zero', { quantity: '-1' }],
    ['zero with places', { quantity: '0.0' }],
    ['below zero with places', { quantity: '-1.5' }],
    ['far below zero', { quantity: '-9999999999' }],
    ['below zero, whatever comes later', { quantity: '-1', price: '-1', date: 'never' }],
  ])('has a non-positive quantity: %s', (_, changes) => {
    expect(decideInvoice(cells(changes))).toEqual({ kind: 'rejected', reason: 'non_positive_quantity' });
  });

  it.each([
    ['too few columns', cells({ quantity: '-3' }).slice(0, 5)],
    ['too many columns', [...cells({ quantity: '0' }), '']],
  ])('has a non-positive quantity in a line of %s', (_, given) => {
    expect(decideInvoice(given)).toEqual({ kind: 'rejected', reason: 'non_positive_quantity' });
  });

  it.each([
    ['negative price', { price: '-0.01' }],
    ['price of five places', { price: '1.00001' }],
    ['price with an exponent', { price: '1e3' }],
    ['no price', { price: '' }],
    ['total of a million million', { quantity: '1000000', price: '1000000' }],
    ['half a piece', { quantity: '1.5' }],
    ['a part of a piece', { quantity: '0.5' }],
    ['a quantity with a space', { quantity: ' -1' }],
    ['quantity in words', { quantity: 'many' }],
    ['more pieces than an order may have', { quantity: '1000001' }],
    ['thirteenth month', { date: '13/1/2010 8:26' }],
    ['day that the month does not have', { date: '2/29/2011 8:26' }],
    ['hour 24', { date: '12/1/2010 24:00' }],
    ['minute 60', { date: '12/1/2010 8:60' }],
    ['date in another form', { date: '2010-12-01 08:26' }],
    ['no customer', { customer: '' }],
    ['customer with a space', { customer: '178 50' }],
    ['no country', { country: ' ' }],
    ['country that was no UTF-8', { country: 'C\ufffdte' }],
    ['return of a positive quantity', { number: 'C536379', quantity: '1' }],
    ['return of nothing', { number: 'C536379', quantity: '0' }],
    ['return at a negative price', { number: 'C536379', quantity: '-1', price: '-1' }],
  ])('is malformed: %s', (_, changes) => {
    expect(decideInvoice(cells(changes))).toEqual({ kind: 'rejected', reason: 'malformed' });
  });

  it.each([
    ['too few', cells().slice(0, 5)],
    ['too many', [...cells(), '']],
    ['the number alone', ['536365']],
  ])('is malformed: %s columns', (_, given) => {
    expect(decideInvoice(given)).toEqual({ kind: 'rejected', reason: 'malformed' });
  });
});
