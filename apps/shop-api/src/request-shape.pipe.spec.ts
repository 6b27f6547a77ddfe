import type { ArgumentMetadata } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import type { InvalidRequest } from './invalid-request.js';
import { RequestShapePipe } from './request-shape.pipe.js';

const read = (value: unknown, type: ArgumentMetadata['type'] = 'body') => new RequestShapePipe().transform(value, { type });
const nested = (depth: number, open: string, close: string): unknown => JSON.parse(`${open.repeat(depth)}1${close.repeat(depth)}`);
const fieldOf = (value: unknown, type?: ArgumentMetadata['type']): string | undefined => {
  try {
    read(value, type);
    return undefined;
  } catch (error) {
    return (error as InvalidRequest).fields[0]?.field;
  }
};
const line = { sku: 'a', quantity: 1, unitPrice: '1' };

describe('the shape of a request', () => {
  it.each([
    ['an order of 500 lines', { orderId: 'o', lines: Array.from({ length: 500 }, () => line) }],
    ['nothing', undefined],
    ['a text', 'x'],
    ['a member that is null', { customerId: null }],
    ['eight levels', { a: nested(8, '[', ']') }],
  ])('may be %s', (_, value) => {
    expect(read(value)).toBe(value);
  });

  it.each([
    ['501 lines', { lines: Array.from({ length: 501 }, () => line) }, 'lines'],
    ['lines that are nothing, by the hundred thousand', { lines: Array.from({ length: 340_000 }, () => ({})) }, 'lines'],
    ['a list that is a body', Array.from({ length: 501 }, () => 1), 'body'],
    ['many members', Object.fromEntries(Array.from({ length: 90_000 }, (_, n) => [`k${n}`, 1])), 'body'],
    ['many values in all', { lines: Array.from({ length: 400 }, () => Object.fromEntries('abcdefghij'.split('').map((name) => [name, 1]))) }, 'lines[259]'],
    ['lists in lists', { name: nested(100_000, '[', ']') }, 'name[0][0][0][0][0][0][0][0]'],
    ['objects in objects', { name: nested(5_000, '{"a":', '}') }, 'name.a.a.a.a.a.a.a.a'],
    ['a member __proto__', JSON.parse('{"name":"n","__proto__":{"x":1}}'), '__proto__'],
    ['a member constructor', JSON.parse('{"constructor":{"prototype":{}}}'), 'constructor'],
    ['a member toString, in a line', { lines: [{ ...line, toString: 1 }] }, 'lines[0].toString'],
    ['a name without end', { ['x'.repeat(500_000)]: 1 }, `${'x'.repeat(100)}…`],
  ])('may not be %s', (_, value, field) => {
    expect(fieldOf(value)).toBe(field);
  });

  it('is looked at in addresses too, and not in what a decorator makes', () => {
    expect(fieldOf(JSON.parse('{"__proto__":"1"}'), 'query')).toBe('__proto__');
    expect(fieldOf({ list: Array(501).fill(1) }, 'custom')).toBeUndefined();
  });
});
