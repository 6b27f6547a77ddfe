import { TandemError } from '../../kernel/errors.js';
import { hasUnseenState } from './unseen-state.js';

/** Deeper parameters are refused: they are a circle, or no parameters. */
const MAX_DEPTH = 32;

/**
 * One text per content, whatever the order of properties. Values that JSON would drop, merge or refuse are tagged; arrays are
 * tagged too, so no array of a caller looks like a tag.
 * @throws TANDEM_PAYLOAD_REFUSED for functions, symbols, promises, circles, and instances whose state cannot be seen.
 */
export function canonicalKey(query: object): string {
  return JSON.stringify(propertiesOf(query, query.constructor.name, 0));
}

function tagged(value: unknown, path: string, depth: number): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : ['number', Object.is(value, -0) ? '-0' : String(value)];
    case 'bigint':
      return ['bigint', String(value)];
    case 'undefined':
      return ['undefined'];
    case 'object':
      return value === null ? null : taggedObject(value, path, depth + 1);
    default:
      throw refused(path, `a ${typeof value}`);
  }
}

function taggedObject(value: object, path: string, depth: number): unknown {
  if (depth > MAX_DEPTH) throw refused(path, 'a circle, or deeper than 32 levels');
  if (Array.isArray(value)) return ['array', ...value.map((item, i) => tagged(item, `${path}[${i}]`, depth))];
  if (value instanceof Date) return ['date', String(value.getTime())];
  if (value instanceof Map) return ['map', ...[...value].map((pair, i) => tagged(pair, `${path}[${i}]`, depth))];
  if (value instanceof Set) return ['set', ...[...value].map((item, i) => tagged(item, `${path}[${i}]`, depth))];
  if (ArrayBuffer.isView(value)) return ['bytes', value.constructor.name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')];
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Object.prototype || prototype === null) return propertiesOf(value, path, depth);
  const name = value.constructor.name;
  if ('toJSON' in value && typeof value.toJSON === 'function') return ['instance', name, tagged((value.toJSON as () => unknown)(), path, depth)];
  if (hasUnseenState(value) || Object.keys(value).length === 0) throw refused(path, `an instance of ${name}, whose state cannot be seen`);
  return ['instance', name, propertiesOf(value, path, depth)];
}

function propertiesOf(value: object, path: string, depth: number): unknown {
  const properties = value as Record<string, unknown>;
  return [
    'object',
    ...Object.keys(properties)
      .sort()
      .map((name) => [name, tagged(properties[name], `${path}.${name}`, depth)]),
  ];
}

const refused = (path: string, what: string): TandemError => new TandemError('TANDEM_PAYLOAD_REFUSED', `${path} cannot be part of the key of a cached result: it is ${what}`);
