import { InvalidValueError } from '../shop-error.js';

export const NAME_LENGTH = 100;
export const COUNTRY_LENGTH = 60;

/** What breaks lines or turns their direction, halves of surrogate pairs, and the mark of bytes that were no UTF-8. */
const UNREADABLE = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]/u;
/** Joiners and selectors belong to names and to 👩‍🌾, and alone they are nothing. */
const VISIBLE = /[^\p{Default_Ignorable_Code_Point}\p{Cf}\p{Z}]/u;

/** False for what would break a line, a database's text or a mail's header. */
export const isReadable = (text: string): boolean => !UNREADABLE.test(text);

/** Trimmed and in Unicode's composed form, so that what looks alike is alike on every database. */
function parseText(value: unknown, field: string, max: number): string {
  const text = typeof value === 'string' ? value.trim().normalize('NFC') : '';
  if (!VISIBLE.test(text) || [...text].length > max) throw new InvalidValueError(field, `must be a text of 1 to ${max} characters that can be seen`);
  if (!isReadable(text)) throw new InvalidValueError(field, 'must not contain control or unreadable characters');
  return text;
}

/** @throws SHOP_INVALID */
export const parseName = (value: unknown, field: string): string => parseText(value, field, NAME_LENGTH);

/** @throws SHOP_INVALID */
export const parseCountry = (value: unknown, field: string): string => parseText(value, field, COUNTRY_LENGTH);
