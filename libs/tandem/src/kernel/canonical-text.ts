import { TandemError } from './errors.js';
import { hasUnseenState } from './unseen-state.js';

/** Deeper parameters are refused: they are a circle, or no parameters. */
const MAX_DEPTH = 32;

/**
 * One text per content, whatever the order of properties. Values that JSON would drop, merge or refuse are tagged; arrays are
 * tagged too, so no array of a caller looks like a tag.
 * @param use for messages: what the text is for, as in "the key of a cached result".
 * @throws TANDEM_PAYLOAD_REFUSED for functions, symbols, promises, circles, and instances whose state cannot be seen.
 */
export function canonicalText(message: object, use: string): string {
  return JSON.stringify(propertiesOf(message, { use, path: message.constructor.name, depth: 0 }));
}

interface Place {
  /** For messages: what the text is for. */
  readonly use: string;
  readonly path: string;
  readonly depth: number;
}

function tagged(value: unknown, place: Place): unknown {
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
      return value === null ? null : taggedObject(value, { ...place, depth: place.depth + 1 });
    default:
      throw refused(place, `a ${typeof value}`);
  }
}

function taggedObject(value: object, place: Place): unknown {
  if (place.depth > MAX_DEPTH) throw refused(place, 'a circle, or deeper than 32 levels');
  if (Array.isArray(value)) return ['array', ...value.map((item, i) => tagged(item, at(place, i)))];
  if (value instanceof Date) return ['date', String(value.getTime())];
  if (value instanceof Map) return ['map', ...[...value].map((pair, i) => tagged(pair, at(place, i)))];
  if (value instanceof Set) return ['set', ...[...value].map((item, i) => tagged(item, at(place, i)))];
  if (ArrayBuffer.isView(value)) return ['bytes', value.constructor.name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')];
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Object.prototype || prototype === null) return propertiesOf(value, place);
  const name = value.constructor.name;
  if ('toJSON' in value && typeof value.toJSON === 'function') return ['instance', name, tagged((value.toJSON as () => unknown)(), place)];
  if (hasUnseenState(value) || Object.keys(value).length === 0) throw refused(place, `an instance of ${name}, whose state cannot be seen`);
  return ['instance', name, propertiesOf(value, place)];
}

function propertiesOf(value: object, place: Place): unknown {
  const properties = value as Record<string, unknown>;
  return [
    'object',
    ...Object.keys(properties)
      .sort()
      .map((name) => [name, tagged(properties[name], { ...place, path: `${place.path}.${name}` })]),
  ];
}

const at = (place: Place, index: number): Place => ({ ...place, path: `${place.path}[${index}]` });

const refused = ({ path, use }: Place, what: string): TandemError => new TandemError('TANDEM_PAYLOAD_REFUSED', `${path} cannot be part of ${use}: it is ${what}`);
