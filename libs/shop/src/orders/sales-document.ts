/**
 * A *sales document* is an order or a return: an id, a customer or none, a country, a moment and lines. A return stands alone,
 * without reference to an order. Its *content hash* tells whether a repeated command says the same.
 */
import { createHash } from 'node:crypto';
import { parsePrice, totalOf } from '../money/money.js';
import { InvalidValueError } from '../shop-error.js';
import { parseId, parseSku } from '../values/identifier.js';
import { parseInstant } from '../values/instant.js';
import { parseCountry } from '../values/text.js';

export const MOST_LINES = 500;
export const MOST_PIECES = 1_000_000;

export interface SalesLine {
  readonly sku: string;
  /** Pieces: a whole number above zero, also in a return. */
  readonly quantity: number;
  /** Decimal text with up to 4 places, not negative. */
  readonly unitPrice: string;
}

export interface GivenDocument {
  readonly id: string;
  /** Null for a sale over the counter. */
  readonly customerId: string | null;
  readonly country: string;
  /** ISO 8601 date-time with its offset. */
  readonly at: string;
  readonly lines: readonly SalesLine[];
}

/** A document in its one written form: prices and total with 4 places, the moment in UTC. */
export interface SalesDocument extends GivenDocument {
  readonly total: string;
  readonly contentHash: string;
}

/** @throws SHOP_INVALID naming the first field that is wrong */
export function salesDocument(given: GivenDocument): SalesDocument {
  const id = parseId(given.id, 'id');
  const customerId = given.customerId === null ? null : parseId(given.customerId, 'customerId');
  const country = parseCountry(given.country, 'country');
  const at = parseInstant(given.at, 'at');
  const lines = salesLines(given.lines);
  const total = totalOf(lines, 'lines');
  const content = JSON.stringify([customerId, country, at, lines.map((line) => [line.sku, line.quantity, line.unitPrice])]);
  return { id, customerId, country, at, lines, total, contentHash: createHash('sha256').update(content).digest('hex') };
}

/** @throws SHOP_INVALID */
export function parseQuantity(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MOST_PIECES) return value;
  throw new InvalidValueError(field, `must be a whole number from 1 to ${MOST_PIECES}`);
}

function salesLines(lines: readonly SalesLine[]): SalesLine[] {
  if (lines.length < 1 || lines.length > MOST_LINES) throw new InvalidValueError('lines', `must be 1 to ${MOST_LINES}`);
  return lines.map((line, index) => ({
    sku: parseSku(line.sku, `lines.${index}.sku`),
    quantity: parseQuantity(line.quantity, `lines.${index}.quantity`),
    unitPrice: parsePrice(line.unitPrice, `lines.${index}.unitPrice`),
  }));
}
