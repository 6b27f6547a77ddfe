import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { ValidationPipe } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { PlaceOrderBody } from '../orders/orders.dto.js';
import { CreateUserBody, ListUsersParams, UpdateUserBody } from '../users/users.dto.js';
import { IdParam } from './id-param.js';

const pipe = new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true });
const read = (metatype: Type, value: unknown): Promise<unknown> => pipe.transform(JSON.parse(JSON.stringify(value)), { type: 'body', metatype });

const order = (changes: object = {}) => ({
  orderId: 'order-1',
  customerId: 'ann',
  country: 'France',
  placedAt: '2026-01-31T09:30:00Z',
  lines: [{ sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.95' }],
  ...changes,
});
const user = (changes: object = {}) => ({ id: 'ann', name: 'Ann', email: 'ann@example.com', ...changes });

describe('request bodies', () => {
  it.each([
    ['an order', PlaceOrderBody, order()],
    ['an order of nobody', PlaceOrderBody, order({ customerId: null })],
    ['a price as a JSON number', PlaceOrderBody, order({ lines: [{ sku: 'a', quantity: 1, unitPrice: 19.95 }] })],
    ['a user', CreateUserBody, user()],
    ['a user whose id is to be made', CreateUserBody, user({ id: undefined })],
    ['a name alone', UpdateUserBody, { name: 'Ann' }],
    ['an e-mail alone', UpdateUserBody, { email: 'ann@example.com' }],
    ['no list options', ListUsersParams, {}],
    ['the id of an invoice', IdParam, { id: 'C536379' }],
  ])('take %s', async (_, metatype, value) => {
    await expect(read(metatype, value)).resolves.toMatchObject(JSON.parse(JSON.stringify(value)) as object);
  });

  it('read a limit from the query string as a number', async () => {
    await expect(read(ListUsersParams, { limit: '7' })).resolves.toEqual({ limit: 7 });
  });

  it.each([
    ['no order', PlaceOrderBody, {}],
    ['no customer at all', PlaceOrderBody, order({ customerId: undefined })],
    ['an id with a slash', PlaceOrderBody, order({ orderId: 'a/b' })],
    ['an id that is a list', PlaceOrderBody, order({ orderId: ['a'] })],
    ['a date without time', PlaceOrderBody, order({ placedAt: '2026-01-31' })],
    ['no lines', PlaceOrderBody, order({ lines: [] })],
    ['lines that are no list', PlaceOrderBody, order({ lines: { sku: 'a', quantity: 1, unitPrice: '1' } })],
    ['a line that is nothing', PlaceOrderBody, order({ lines: [null] })],
    ['a line that is a text', PlaceOrderBody, order({ lines: ['a'] })],
    ['a line that is a list', PlaceOrderBody, order({ lines: [[]] })],
    ['501 lines', PlaceOrderBody, order({ lines: Array.from({ length: 501 }, () => order().lines[0]) })],
    ['a quantity as a text', PlaceOrderBody, order({ lines: [{ sku: 'a', quantity: '1', unitPrice: '1' }] })],
    ['a price that a double cannot hold', PlaceOrderBody, order({ lines: [{ sku: 'a', quantity: 1, unitPrice: 9007199254740992 }] })],
    ['a member that nobody knows', PlaceOrderBody, order({ total: '1' })],
    ['a reserved user id', CreateUserBody, user({ id: 'count' })],
    ['a name of spaces', CreateUserBody, user({ name: '   ' })],
    ['an e-mail that is none', CreateUserBody, user({ email: 'ann' })],
    ['no change', UpdateUserBody, {}],
    ['a name that is null', UpdateUserBody, { name: null, email: 'ann@example.com' }],
    ['a limit of 101', ListUsersParams, { limit: '101' }],
    ['a limit in words', ListUsersParams, { limit: 'ten' }],
    ['a limit in hexadecimal', ListUsersParams, { limit: '0x10' }],
    ['a limit with an exponent', ListUsersParams, { limit: '1e1' }],
    ['a limit that is empty', ListUsersParams, { limit: '' }],
    ['a search for a control character', ListUsersParams, { search: 'a\u0000b' }],
    ['a limit given twice', ListUsersParams, { limit: ['1', '2'] }],
    ['a path id with a percent', IdParam, { id: 'a%' }],
  ])('refuse %s', async (_, metatype, value) => {
    await expect(read(metatype, value)).rejects.toMatchObject({ status: 400 });
  });

  it('name every field that is wrong', async () => {
    const error: unknown = await read(PlaceOrderBody, order({ orderId: '', country: '', lines: [{ sku: 'a', quantity: 0, unitPrice: 'x' }] })).catch((refused: unknown) => refused);
    const { message } = (error as { getResponse(): { message: string[] } }).getResponse();
    expect(message.map((line) => line.split(' ')[0])).toEqual(['orderId', 'country', 'lines.0.quantity', 'lines.0.unitPrice']);
  });
});
