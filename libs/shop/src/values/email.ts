import { isEmail } from 'class-validator';
import { InvalidValueError } from '../shop-error.js';

export const EMAIL_LENGTH = 254;
const PRINTABLE_ASCII = /^[\x21-\x7e]+$/;

/** The address as the user wrote it. @throws SHOP_INVALID */
export function parseEmail(value: unknown, field: string): string {
  const email = typeof value === 'string' ? value.trim() : '';
  if (email.length > EMAIL_LENGTH || !PRINTABLE_ASCII.test(email) || !isEmail(email))
    throw new InvalidValueError(field, `must be an e-mail address of at most ${EMAIL_LENGTH} characters`);
  return email;
}

/** What two addresses that differ in case only have in common: an e-mail is unique by its key. */
export const emailKey = (email: string): string => email.toLowerCase();
