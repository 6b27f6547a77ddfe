import { InvalidValueError } from '../../shop-error.js';
import { isReadable } from '../../values/text.js';

const LONGEST_SEARCH = 100;
const ESCAPE = '!';

/** @throws SHOP_INVALID */
export function parseSearch(value: unknown, field: string): string {
  if (typeof value === 'string' && value.length <= LONGEST_SEARCH && isReadable(value)) return value;
  throw new InvalidValueError(field, `must be a text of at most ${LONGEST_SEARCH} characters, none of them a control character`);
}

/** The text that a user is found by. */
export const searchable = (user: { readonly name: string; readonly email: string }): string => lower(`${user.name}\n${user.email}`);

/** A LIKE pattern, for `ESCAPE '!'`, that finds the words anywhere in {@link searchable}. */
export const searchPattern = (words: string): string => `%${lower(words.trim()).replace(/[!%_]/g, (sign) => ESCAPE + sign)}%`;

const lower = (text: string): string => text.normalize('NFC').toLowerCase();
