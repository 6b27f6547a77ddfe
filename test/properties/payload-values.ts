/**
 * Values that handlers may put into an event or a queued command: what a payload keeps, and what it must refuse. An arbitrary
 * value goes to the codec as it is; whether it is kept or refused is the codec's to say, but never anything else.
 */
import { Big } from 'big.js';
import fc from 'fast-check';

class Money {
  constructor(readonly cents: number) {}
}

/** Any string that a database stores: control characters, quotes, backslashes, marks of LIKE, four-byte letters. */
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('\u0000', "'", '\\', '%_', '?', '$1', ':a', '\u2028', '🙂', ''),
);
/** UTF-16 units at random: most have half of a surrogate pair. */
const anyUnits = fc.array(fc.nat(0xffff), { minLength: 1, maxLength: 4 }).map((units) => String.fromCharCode(...units));
const decimal = fc.tuple(fc.bigInt(-(10n ** 40n), 10n ** 40n), fc.integer({ min: -40, max: 40 })).map(([digits, exponent]) => new Big(`${digits}e${exponent}`));

const leaf = fc.oneof(
  { weight: 12, arbitrary: fc.oneof(text, fc.maxSafeInteger(), fc.bigInt(), decimal, fc.boolean(), fc.constantFrom(null, -0, 0.1, 5e-324, new Big('-0'))) },
  { weight: 3, arbitrary: fc.oneof(fc.double({ noInteger: true }), fc.date({ noInvalidDate: true })) },
);
const badLeaf = fc.oneof(
  fc.constantFrom(Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 60), 1e300),
  anyUnits,
  fc.constantFrom(
    Symbol('s'),
    () => 1,
    new Map([[1, 2]]),
    [1, undefined],
    { [Symbol('s')]: 1 },
    new Set([1]),
    new Money(5),
    /x/,
    new Uint8Array(2),
    new Date(Number.NaN),
    new Error('e'),
    Object(1),
  ),
);

const tag = fc.constantFrom('$bigint', '$date', '$number', '$object', '$decimal', '$', '$other');
const key = fc.oneof({ weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 6 }) }, { weight: 2, arbitrary: tag }, { weight: 1, arbitrary: text });
const badKey = fc.oneof(fc.constantFrom('__proto__', 'constructor', 'prototype'), anyUnits);

interface Parts {
  readonly leaf: fc.Arbitrary<unknown>;
  readonly key: fc.Arbitrary<string>;
}

const membersOf = (entries: readonly (readonly [string, unknown])[]): object => {
  const members = {};
  // Defined, not assigned: `__proto__` becomes a member of its own, as JSON.parse makes it.
  for (const [name, value] of entries) Object.defineProperty(members, name, { value, enumerable: true, writable: true, configurable: true });
  return members;
};

const treeOf = (parts: Parts): fc.Arbitrary<unknown> =>
  fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      parts.leaf,
      fc.array(tie('any'), { maxLength: 4 }),
      fc.array(fc.tuple(parts.key, tie('any')), { maxLength: 4 }).map(membersOf),
    ),
  })).any;

const nested = (depth: number, inner: unknown, asList: boolean): unknown => {
  let value = inner;
  for (let i = 0; i < depth; i++) value = asList ? [value] : { in: value };
  return value;
};

/** Around the deepest that is allowed, of lists and of members, with something in the middle that takes a tag. */
const deep = fc.tuple(fc.integer({ min: 26, max: 36 }), fc.oneof(leaf, fc.constant({ $date: 1 }), fc.constant({})), fc.boolean()).map((given) => nested(...given));
/** Up to well over what is allowed: 256 KiB of UTF-8. */
const large = fc
  .tuple(fc.constantFrom('x', 'é', '🙂', '\\', '\u0000'), fc.integer({ min: 20_000, max: 270_000 }))
  .map(([letter, count]) => ({ part: [letter.repeat(count)], small: 'x' }));

/** The members of a message: names as code writes them, tags among them. */
const messageOf = (value: fc.Arbitrary<unknown>): fc.Arbitrary<object> =>
  fc.oneof(
    value.map((content) => ({ content })),
    fc.dictionary(tag, value, { minKeys: 1, maxKeys: 2, noNullPrototype: true }),
  );

const mixed = treeOf({
  leaf: fc.oneof({ weight: 9, arbitrary: leaf }, { weight: 1, arbitrary: badLeaf }),
  key: fc.oneof({ weight: 19, arbitrary: key }, { weight: 1, arbitrary: badKey }),
});

/** Members that code may give a message: most can be stored, some must be refused. */
export const message: fc.Arbitrary<object> = messageOf(
  fc.oneof(
    { weight: 8, arbitrary: treeOf({ leaf, key }) },
    { weight: 4, arbitrary: fc.jsonValue({ stringUnit: 'binary' }) },
    { weight: 6, arbitrary: mixed },
    { weight: 2, arbitrary: badLeaf },
    { weight: 3, arbitrary: deep },
    { weight: 1, arbitrary: large },
  ),
);

const halfPair = /\p{Surrogate}/u;
const prototypeKeys = ['__proto__', 'constructor', 'prototype'];
const MAX_DEPTH = 32;

/** The paths of all that must be refused, written down without any of the codec. Size apart. */
export function badPaths(value: unknown, path = '', depth = 0): string[] {
  if (typeof value === 'string') return halfPair.test(value) ? [path] : [];
  if (typeof value === 'number') return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? [] : [path];
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') return [];
  if (typeof value !== 'object' || depth > MAX_DEPTH) return [path];
  if (value instanceof Big) return [];
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? [path] : [];
  if (Array.isArray(value)) return value.flatMap((item, index) => badPaths(item, `${path}[${index}]`, depth + 1));
  if (Object.getPrototypeOf(value) !== Object.prototype || Object.getOwnPropertySymbols(value).length > 0) return [path];
  return Object.entries(value).flatMap(([name, member]) => {
    const at = path ? `${path}.${name}` : name;
    if (prototypeKeys.includes(name) || halfPair.test(name)) return [at];
    return member === undefined ? [] : badPaths(member, at, depth + 1);
  });
}
