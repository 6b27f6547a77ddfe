/**
 * Payloads are JSON that survives the round trip unharmed, or are refused with the path of the bad value. What JSON lacks is
 * tagged: `{"$bigint":"1"}`, `{"$decimal":"0.1"}` (a `Big` of big.js), `{"$date":"…"}`, `{"$number":"-0"}`; an object that looks
 * like a tag is wrapped in `{"$object":…}`.
 */
import { Big } from 'big.js';
import sjson from 'secure-json-parse';
import { TandemError } from '../kernel/errors.js';

/** Bytes of one payload, at most. */
export const MAX_PAYLOAD_BYTES = 256 * 1024;
const MAX_DEPTH = 32;
const TAGS = new Set(['$bigint', '$date', '$decimal', '$number', '$object']);
const UNSAFE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** JSON text of an event's or command's own members. @throws TANDEM_PAYLOAD_REFUSED naming type and path. */
export function encodePayload(type: string, message: object): string {
  const text = JSON.stringify(encodeMembers(message, { type, path: '', depth: 0 }));
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PAYLOAD_BYTES) {
    const path = largestPart(type, message);
    throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${type} is ${bytes} bytes, mostly ${path}; at most ${MAX_PAYLOAD_BYTES} are allowed`, {
      next: 'Keep large content elsewhere and put its address into the message.',
      data: { type, path, bytes },
    });
  }
  return text;
}

/** Follows the largest member or item down, for as long as it makes up more than half of what it is in. */
function largestPart(type: string, message: object): string {
  const sized = (value: unknown, path: string) => ({ value, path, size: JSON.stringify(encode(value, { type, path, depth: 0 })).length });
  let at = { value: message as unknown, path: '', size: 0 };
  for (;;) {
    const { path, value } = at;
    if (typeof value !== 'object' || value === null) return path;
    const parts = Object.entries(value).flatMap(([key, part]: [string, unknown]) => (part === undefined ? [] : [sized(part, pathOf(path, value, key))]));
    const largest = parts.toSorted((a, b) => b.size - a.size)[0];
    if (!largest || largest.size <= parts.reduce((sum, { size }) => sum + size, 0) / 2) return path || THE_MESSAGE;
    at = largest;
  }
}

/** An instance of `messageClass` with the members of the text; its constructor does not run. */
export function decodePayload<T extends object>(messageClass: { readonly prototype: T }, text: string): T {
  const parsed = parseSafely(text) as Record<string, unknown>;
  // The message itself is never a tag, also where its only member is named like one.
  const members = text.includes('"$') ? decodeMembers(parsed) : parsed;
  return Object.assign(Object.create(messageClass.prototype) as T, members);
}

/** Only a text with one of these, or with a letter written as its code, can hold a key that `secure-json-parse` refuses: the others need not be searched. */
const mayBeUnsafe = (text: string): boolean => text.includes('__proto__') || text.includes('constructor') || text.includes('\\u00');

const parseSafely = (text: string): unknown => (mayBeUnsafe(text) ? sjson.parse(text) : JSON.parse(text)) as unknown;

/** JSON text of what a command answers, `undefined` included. @throws TANDEM_PAYLOAD_REFUSED naming the command and the path. */
export const encodeResult = (type: string, result: unknown): string => encodePayload(type, { result });

/** What {@link encodeResult} was given. */
export const decodeResult = (text: string): unknown => decodePayload<{ result?: unknown }>({ prototype: Object.prototype }, text).result;

interface Place {
  readonly type: string;
  readonly path: string;
  readonly depth: number;
}

const THE_MESSAGE = '(the message itself)';

function pathOf(outer: string, container: object, key: string): string {
  if (Array.isArray(container)) return `${outer}[${key}]`;
  return outer ? `${outer}.${key}` : key;
}

function refuse(place: Place, why: string): never {
  const path = place.path || THE_MESSAGE;
  throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${place.type}: ${path} ${why}`, { data: { type: place.type, path } });
}

function encode(value: unknown, place: Place): unknown {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? value : refuse(place, 'has half of a surrogate pair, which no database stores');
    case 'number':
      return encodeNumber(value, place);
    case 'boolean':
      return value;
    case 'bigint':
      return { $bigint: value.toString() };
    case 'object':
      return value === null ? null : encodeObject(value, place);
    default:
      return refuse(place, `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`);
  }
}

function encodeNumber(value: number, place: Place): unknown {
  if (!Number.isFinite(value)) return refuse(place, `is ${value}`);
  if (Object.is(value, -0)) return { $number: '-0' };
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return refuse(place, 'is beyond the exact whole numbers: use a bigint or a string');
  return value;
}

function encodeObject(value: object, place: Place): unknown {
  if (place.depth >= MAX_DEPTH) return refuse(place, `is nested deeper than ${MAX_DEPTH}, or in a circle`);
  if (value instanceof Big) return { $decimal: decimalText(value) };
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? refuse(place, 'is an invalid Date') : { $date: value.toISOString() };
  const depth = place.depth + 1;
  if (Array.isArray(value)) return encodeItems(value, { ...place, depth });
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== null && prototype !== Object.prototype)
    return refuse(place, `is a ${value.constructor?.name ?? 'class instance'}: only plain objects, arrays, Dates, bigints and decimals of big.js keep their meaning`);
  if (Object.getOwnPropertySymbols(value).length > 0) return refuse(place, 'has a member that is named by a symbol');
  const members = encodeMembers(value, { ...place, depth });
  const keys = Object.keys(members);
  return keys.length === 1 && TAGS.has(keys[0]!) ? { $object: members } : members;
}

/** The text of -0 says so, as big.js's own `toString` does not. */
const decimalText = (value: Big): string => (value.s === -1 && value.c[0] === 0 ? '-0' : value.toString());

function encodeItems(items: readonly unknown[], place: Place): unknown[] {
  if (items.length > MAX_PAYLOAD_BYTES) return refuse(place, `has ${items.length} items, more than a payload has bytes`);
  return Array.from(items, (item, index) => encode(item, { ...place, path: `${place.path}[${index}]` }));
}

function encodeMembers(value: object, place: Place): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    const path = pathOf(place.path, value, key);
    if (UNSAFE_KEYS.has(key)) refuse({ ...place, path }, 'is a key that could change prototypes');
    if (!isWellFormed(key)) refuse({ ...place, path }, 'has half of a surrogate pair in its name');
    if (member !== undefined) members[key] = encode(member, { ...place, path });
  }
  return members;
}

function decode(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  const [tag, ...others] = Object.keys(record);
  if (tag === undefined || others.length > 0) return decodeMembers(record);
  const inner = record[tag];
  if (tag === '$bigint') return BigInt(inner as string);
  if (tag === '$date') return new Date(inner as string);
  if (tag === '$decimal') return new Big(inner as string);
  if (tag === '$number') return Number(inner);
  return decodeMembers(tag === '$object' ? (inner as Record<string, unknown>) : record);
}

const decodeMembers = (record: Record<string, unknown>): Record<string, unknown> => Object.fromEntries(Object.entries(record).map(([key, member]) => [key, decode(member)]));

/** Node 20 has it; the ES2023 library types do not. */
const isWellFormed = (text: string): boolean => (text as unknown as { isWellFormed(): boolean }).isWellFormed();
