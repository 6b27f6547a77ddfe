const DATE_SETTERS = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set'));
const MAP_CHANGES = ['set', 'delete', 'clear'];
const SET_CHANGES = ['add', 'delete', 'clear'];

/**
 * Freezes an answer through and through, so that no caller can change what the next one gets. `Object.freeze` leaves dates, maps
 * and sets open: their changing methods are covered by ones that throw a TypeError.
 * Returns false, with nothing frozen, for an answer that holds something that cannot be frozen.
 */
export function freezeAnswer(answer: unknown): boolean {
  const objects = new Set<object>();
  const open: unknown[] = [answer];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === 'function') return false;
    if (typeof value !== 'object' || value === null || objects.has(value)) continue;
    if (!canBeFrozen(value)) return false;
    objects.add(value);
    // One by one: a call takes only so many arguments.
    if (value instanceof Map) for (const [key, held] of value) open.push(key, held);
    if (value instanceof Set) for (const held of value) open.push(held);
    for (const key of Reflect.ownKeys(value)) {
      const property = Reflect.getOwnPropertyDescriptor(value, key)!;
      if (property.get || property.set) return false;
      if (!isCover(property.value)) open.push(property.value);
    }
  }
  for (const value of objects) {
    cover(value);
    Object.freeze(value);
  }
  return true;
}

function canBeFrozen(value: object): boolean {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return false;
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) return false;
  return Object.isExtensible(value) || changesOf(value).every((name) => Object.hasOwn(value, name));
}

function changesOf(value: object): readonly string[] {
  if (value instanceof Date) return DATE_SETTERS;
  if (value instanceof Map) return MAP_CHANGES;
  return value instanceof Set ? SET_CHANGES : [];
}

function cover(value: object): void {
  if (!Object.isExtensible(value)) return;
  for (const name of changesOf(value)) Object.defineProperty(value, name, { value: refuseChange });
}

function refuseChange(): never {
  throw new TypeError('a cached result is shared between its callers and cannot be changed: copy it first');
}

const isCover = (value: unknown): boolean => value === refuseChange;
