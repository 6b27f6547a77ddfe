import { Big } from 'big.js';
import { TandemError } from '../../kernel/errors.js';

/** Columns of a row that can be added to: numbers, and decimals as strings. */
export type AddableColumn<V> = { [P in keyof V]-?: NonNullable<V[P]> extends number | string ? P : never }[keyof V] & string;

/**
 * What an event adds to a row, exact to the last decimal. Written as `column = column + ?`, so the order of events, and who
 * else is adding, do not matter. A missing row begins at the entity's defaults; a column without one, or null, at 0.
 */
export abstract class Delta<V> {
  /**
   * Adds to a column; a negative amount subtracts.
   * @param amount a whole number within ±2^53, or a decimal as a string (`'12.3450'`): a fraction as a number is not exact.
   * @throws TANDEM_PAYLOAD_REFUSED for any other amount. TANDEM_WIRING for a column that the entity does not have or that is part of its key.
   */
  abstract add(column: AddableColumn<V>, amount: number | string): this;
}

const DECIMAL = /^-?\d{1,65}(\.\d{1,40})?$/;

/** @throws TANDEM_PAYLOAD_REFUSED for what cannot be added exactly. */
export function exactAmount(amount: unknown, column: string): Big {
  if (typeof amount === 'number' ? Number.isSafeInteger(amount) : typeof amount === 'string' && DECIMAL.test(amount)) return new Big(amount as number | string);
  throw new TandemError('TANDEM_PAYLOAD_REFUSED', `"${String(amount).slice(0, 80)}" (${typeof amount}) cannot be added to ${column} exactly`, {
    next: 'Add a whole number, or a decimal as a string such as "12.3450".',
  });
}
