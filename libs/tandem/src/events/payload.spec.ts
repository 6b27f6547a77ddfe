import { Big } from 'big.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePayload, encodePayload, MAX_PAYLOAD_BYTES } from './payload.js';

class Sample {
  constructor(readonly content: unknown) {}
}
const roundTrip = (content: unknown): unknown => decodePayload(Sample, encodePayload('sample', new Sample(content))).content;
const refusal = (content: unknown): string => {
  try {
    encodePayload('sample', new Sample(content));
    return 'accepted';
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as { data: { path?: string } }).data.path ?? ''}`.trim();
  }
};

describe('payload', () => {
  it('gives back what was put in, as an instance of the class', () => {
    const content = { text: 'é🙂', whole: 12, part: 1.5, big: 2n ** 70n, at: new Date('2026-01-02T03:04:05.678Z'), nothing: null, list: [1, [true, { deep: -0 }]] };
    const back = decodePayload(Sample, encodePayload('sample', new Sample(content)));
    expect(back).toBeInstanceOf(Sample);
    expect(back.content).toEqual(content);
    expect(Object.is((back.content as { list: [number, [boolean, { deep: number }]] }).list[1][1].deep, -0)).toBe(true);
  });

  it('keeps any JSON-like value, tags and their look-alikes included', () => {
    const leaf = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
      fc.bigInt(),
      fc.date({ noInvalidDate: true }),
      fc.boolean(),
      fc.constant(null),
    );
    const key = fc.oneof(
      fc.constantFrom('$bigint', '$date', '$number', '$object'),
      fc.string({ unit: 'grapheme' }).filter((name) => !['__proto__', 'constructor', 'prototype'].includes(name)),
    );
    const value = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('any'), { maxLength: 4 }), fc.dictionary(key, tie('any'), { maxKeys: 4, noNullPrototype: true })),
    })).any;
    fc.assert(
      fc.property(value, (content) => {
        expect(roundTrip(content)).toStrictEqual(content);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['NaN', { a: [0, Number.NaN] }, 'content.a[1]'],
    ['an unsafe integer', { n: 2 ** 53 }, 'content.n'],
    ['half a surrogate pair', ['\ud800'], 'content[0]'],
    ['undefined in a list', [undefined], 'content[0]'],
    ['a function', { f: () => 1 }, 'content.f'],
    ['an invalid Date', new Date(Number.NaN), 'content'],
    ['a Map', new Map(), 'content'],
    ['a member named by a symbol', { a: { [Symbol('s')]: 1 } }, 'content.a'],
    ['a key that changes prototypes', JSON.parse('{"__proto__":{"admin":true}}'), 'content.__proto__'],
  ])('refuses %s and names its path', (_what, content, path) => {
    expect(refusal(content)).toBe(`TANDEM_PAYLOAD_REFUSED ${path}`);
  });

  it('refuses a circle and what is too large', () => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(refusal(circle)).toMatch(/^TANDEM_PAYLOAD_REFUSED content(\.self)+$/);
    expect(refusal({ note: 'x', pages: ['x', 'x'.repeat(MAX_PAYLOAD_BYTES)] })).toBe('TANDEM_PAYLOAD_REFUSED content.pages[1]');
    expect(refusal(Array.from({ length: 30 }, () => 'x'.repeat(10_000)))).toBe('TANDEM_PAYLOAD_REFUSED content');
    expect(refusal(Object.assign([], { length: 2 ** 31 }))).toBe('TANDEM_PAYLOAD_REFUSED content');
  });

  it('keeps decimals of big.js to the last digit', () => {
    for (const text of ['0.1', '-12.50', '-0', '1e+400', '123456789012345678901234567890.000000000000000000001']) {
      const back = roundTrip(new Big(text)) as Big;
      expect(back).toBeInstanceOf(Big);
      expect([back.s, back.e, back.c]).toEqual([new Big(text).s, new Big(text).e, new Big(text).c]);
    }
  });

  it('never takes a message for a tag, whatever its only member is called', () => {
    class Tagged {
      constructor(readonly $date: string) {}
    }
    expect(decodePayload(Tagged, encodePayload('tagged', new Tagged('2026')))).toEqual(new Tagged('2026'));
  });

  it('does not let stored text change prototypes', () => {
    expect(() => decodePayload(Sample, '{"content":{"__proto__":{"admin":true}}}')).toThrow();
  });
});
