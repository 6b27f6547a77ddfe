import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTandemError } from './errors.js';
import { canonicalText } from './canonical-text.js';

class FindOrders {
  constructor(readonly filter: unknown) {}
}
const keyOf = (filter: unknown): string => canonicalText(new FindOrders(filter), 'a key');

class Money {
  constructor(readonly amount: string) {}
}
class Weight {
  constructor(readonly amount: string) {}
}
class Hidden {
  readonly #secret: string;
  constructor(secret: string) {
    this.#secret = secret;
  }
  reveal(): string {
    return this.#secret;
  }
}

class HalfHidden extends Money {
  readonly #currency: string;
  constructor(amount: string, currency: string) {
    super(amount);
    this.#currency = currency;
  }
  override toString = () => `${this.amount} ${this.#currency}`;
}
class Rounded extends Money {
  get cents(): number {
    return this.#parsed() * 100;
  }
  #parsed() {
    return Number(this.amount);
  }
}

describe('canonicalText', () => {
  it('does not depend on the order of properties', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (properties) => {
        expect(keyOf(Object.fromEntries(Object.entries(properties).reverse()))).toBe(keyOf(properties));
      }),
    );
  });

  it('tells apart whatever differs', () => {
    const values = [
      ...[undefined, null, '', 0, -0, Number.NaN, Number.POSITIVE_INFINITY, 1, 1n, '1', true, 'true', [], {}, [[]], [null], [undefined], { a: undefined }, { a: null }],
      ...[['bigint', '1'], ['undefined'], ['array'], new Date(0), 0, '1970-01-01T00:00:00.000Z', new Date(Number.NaN), new Map([['a', 1]]), new Map([['a', 2]]), new Set(['a', 1])],
      ...[Buffer.from('a'), Buffer.from('b'), new Uint8Array([97]), new Money('1'), new Weight('1'), { amount: '1' }, new URL('http://a/'), new URL('http://b/')],
      ...[JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":2}'), '\ud800', '\ud801'],
    ].filter((value, i, all) => value !== 0 || Object.is(value, -0) || all.indexOf(value) === i);
    const keys = values.map(keyOf);
    for (const [i, key] of keys.entries()) expect([key, keys.indexOf(key)]).toEqual([key, i]);
  });

  it('is the same for equal values of every kind', () => {
    const value = () => ({ at: new Date(5), big: 5n, list: [undefined, -0, Number.NaN], money: new Money('1.50'), bytes: Buffer.from('abc'), map: new Map([[1, new Set([2])]]) });
    expect(keyOf(value())).toBe(keyOf(value()));
  });

  it('takes instances whose private members are methods', () => {
    expect(keyOf(new Rounded('1'))).not.toBe(keyOf(new Rounded('2')));
  });

  const circle: Record<string, unknown> = {};
  circle.self = circle;
  it.each([
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
    ['a promise', Promise.resolve(1)],
    ['an instance whose state cannot be seen', new Hidden('a')],
    ['an instance of which a part cannot be seen', new HalfHidden('1', 'EUR')],
    ['a circle', circle],
  ])('refuses %s and names where it is', (_, value) => {
    expect(() => keyOf({ deep: value })).toThrow(
      expect.toSatisfy((error: Error) => isTandemError(error, 'TANDEM_PAYLOAD_REFUSED') && error.message.includes('FindOrders.filter.deep')),
    );
  });
});
