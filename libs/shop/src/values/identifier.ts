import { InvalidValueError } from '../shop-error.js';

/** Ids of users, customers, orders and returns: they stand in paths, stream names and file names. */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const SKU_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$/;
/** `GET /users/count` is a path of its own, in any case of letters. */
const RESERVED_USER_IDS: ReadonlySet<string> = new Set(['count']);

/** @throws SHOP_INVALID */
export function parseId(value: unknown, field: string): string {
  if (typeof value === 'string' && ID_PATTERN.test(value)) return value;
  throw new InvalidValueError(field, 'must be 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit');
}

/** @throws SHOP_INVALID, also for a word that is a path of the API */
export function parseUserId(value: unknown, field: string): string {
  const id = parseId(value, field);
  if (RESERVED_USER_IDS.has(id.toLowerCase())) throw new InvalidValueError(field, `must not be "${id}", which is a path of the API`);
  return id;
}

/** @throws SHOP_INVALID */
export function parseSku(value: unknown, field: string): string {
  if (typeof value === 'string' && SKU_PATTERN.test(value)) return value;
  throw new InvalidValueError(field, 'must be 1 to 64 letters, digits, dots, dashes, slashes or underscores, and begin with a letter or digit');
}
