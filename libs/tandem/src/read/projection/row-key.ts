import type { RowKey } from '../../events/on.js';
import { TandemError } from '../../kernel/errors.js';
import { rowId, type KeyValues, type RowShape } from './row-store.js';

/** A key as a row store takes it, with its name in maps. */
export interface NamedKey {
  readonly id: string;
  readonly values: KeyValues;
}

/** What a handler's `key` answered, as a key of this shape. @throws TANDEM_PAYLOAD_REFUSED when it is none. */
export function namedKey(shape: RowShape, key: RowKey): NamedKey {
  if (typeof key === 'string' && key !== '' && shape.keys.length === 1) return { id: key, values: { [shape.keys[0]!]: key } };
  const members: Readonly<Record<string, unknown>> = typeof key === 'object' && key !== null ? key : shape.keys.length === 1 ? { [shape.keys[0]!]: key } : {};
  const surplus = Object.keys(members).filter((member) => !shape.keys.includes(member));
  if (surplus.length > 0) throw refused(shape, `${surplus.join(', ')} is no part of it`);
  for (const name of shape.keys) {
    const value = members[name];
    const fits = typeof value === 'string' ? value !== '' : typeof value === 'number' && Number.isFinite(value);
    if (!fits) throw refused(shape, `${name} is ${value === '' ? 'empty' : String(value)}, not text or a number`);
  }
  const values = members as KeyValues;
  return { id: rowId(shape, values), values };
}

/** Several keys, each once, in order. */
export function namedKeys(shape: RowShape, answer: RowKey | readonly RowKey[]): NamedKey[] {
  if (!Array.isArray(answer)) return [namedKey(shape, answer as RowKey)];
  return [...new Map((answer as readonly RowKey[]).map((key) => namedKey(shape, key)).map((key) => [key.id, key])).values()];
}

const refused = (shape: RowShape, why: string): TandemError =>
  new TandemError('TANDEM_PAYLOAD_REFUSED', `The row's key is (${shape.keys.join(', ')}): ${why}`, { next: 'Correct the `key` of the handler, or the event.' });
