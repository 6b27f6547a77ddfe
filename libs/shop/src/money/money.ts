/**
 * *Money* is a decimal text with four places, like `3.9100`, in commands, events, columns and answers. It is never a float:
 * sums and products are exact. An *amount* has at most 15 digits before the point, as in DECIMAL(19,4), and a document's total is
 * far below. *Sums* of documents stand in DECIMAL(30,4): as many documents as an integer counts fit, so that no total stops a report.
 */
import { Big } from 'big.js';
import { InvalidValueError } from '../shop-error.js';

const PLACES = 4;
const DECIMAL = /^-?\d{1,15}(\.\d{1,4})?$/;
/** Every decimal of up to 15 digits survives the way through a double and back. */
const SAFE_DIGITS = 15;
const LIMIT = new Big('1e15');
/** No document comes near. */
const LARGEST_TOTAL = new Big('1e12');

export const ZERO = '0.0000';

/**
 * A plain decimal text: no exponent, no plus, no spaces, at most four places. A JSON number is taken as the text that it is
 * written as, up to 15 digits: `0.1` is exactly one tenth; `0.00001`, `1e21` and `9007199254740993` are refused.
 * @throws SHOP_INVALID
 */
export function parseMoney(value: unknown, field: string): string {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !DECIMAL.test(text)) throw new InvalidValueError(field, 'must be a decimal text with at most 4 places, like "3.91"');
  if (typeof value === 'number' && text.replace(/[-.]/g, '').length > SAFE_DIGITS) throw new InvalidValueError(field, 'has too many digits for a JSON number: send it as a text');
  return canonical(new Big(text), field);
}

/** As {@link parseMoney}, and not below zero: a price. @throws SHOP_INVALID */
export function parsePrice(value: unknown, field: string): string {
  const price = parseMoney(value, field);
  if (price.startsWith('-')) throw new InvalidValueError(field, 'must not be negative');
  return price;
}

/** Σ quantity × unit price, exact. @throws SHOP_INVALID from a million million on */
export function totalOf(lines: readonly { readonly quantity: number; readonly unitPrice: string }[], field: string): string {
  const total = lines.reduce((sum, line) => sum.plus(new Big(line.unitPrice).times(line.quantity)), new Big(0));
  if (total.gte(LARGEST_TOTAL)) throw new InvalidValueError(field, 'must add up to less than 1,000,000,000,000');
  return written(total);
}

/** A sum as the database gives it: it may be larger than any one amount. */
export const storedSum = (sum: string): string => written(new Big(sum));

/** @throws SHOP_INVALID when the value is no money */
export const negated = (money: string): string => canonical(new Big(money).times(-1), 'amount');

function canonical(amount: Big, field: string): string {
  if (amount.abs().gte(LIMIT)) throw new InvalidValueError(field, 'must have at most 15 digits before the point');
  return written(amount);
}

function written(amount: Big): string {
  const text = amount.toFixed(PLACES);
  return text === `-${ZERO}` ? ZERO : text;
}
