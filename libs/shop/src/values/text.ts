import { InvalidValueError } from '../shop-error.js';

export const NAME_LENGTH = 100;
export const COUNTRY_LENGTH = 60;

/** Control and format characters that hide or break lines, halves of surrogate pairs, and the mark of bytes that were no UTF-8. */
const UNREADABLE = /[\p{Cc}\p{Cs}\u2028\u2029\ufffd]/u;

/** False for what would break a line, a database's text or a mail's header. */
export const isReadable = (text: string): boolean => !UNREADABLE.test(text);

/** Trimmed and in Unicode's composed form, so that what looks alike is alike on every database. */
function parseText(value: unknown, field: string, max: number): string {
  const text = typeof value === 'string' ? value.trim().normalize('NFC') : '';
  if (text === '' || [...text].length > max) throw new InvalidValueError(field, `must be a text of 1 to ${max} characters`);
  if (!isReadable(text)) throw new InvalidValueError(field, 'must not contain control or unreadable characters');
  return text;
}

/** @throws SHOP_INVALID */
export const parseName = (value: unknown, field: string): string => parseText(value, field, NAME_LENGTH);

/** @throws SHOP_INVALID */
export const parseCountry = (value: unknown, field: string): string => parseText(value, field, COUNTRY_LENGTH);
