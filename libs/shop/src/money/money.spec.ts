import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isShopError } from '../shop-error.js';
import { negated, parseMoney, parsePrice, storedSum, totalOf, ZERO } from './money.js';

/** Ten-thousandths as a bigint: the oracle, and it cannot round. */
const inTenThousandths = (money: string): bigint => BigInt(money.replace('.', ''));
const written = (tenThousandths: bigint): string => {
  const digits = String(tenThousandths < 0n ? -tenThousandths : tenThousandths).padStart(5, '0');
  return `${tenThousandths < 0n ? '-' : ''}${digits.slice(0, -4)}.${digits.slice(-4)}`;
};
const amount = fc.bigInt({ min: -(10n ** 19n) + 1n, max: 10n ** 19n - 1n });
const line = fc.record({ quantity: fc.integer({ min: 1, max: 1_000_000 }), unitPrice: fc.bigInt({ min: 0n, max: 10n ** 7n }).map(written) });

function refused(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (error) {
    return isShopError(error, 'SHOP_INVALID');
  }
}

describe('money', () => {
  it('keeps every amount to the last place', () => {
    fc.assert(fc.property(amount, (value) => inTenThousandths(parseMoney(written(value), 'price')) === value));
  });

  it('sums lines exactly, however many there are', () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 500 }), (lines) => {
        const exact = lines.reduce((sum, each) => sum + BigInt(each.quantity) * inTenThousandths(each.unitPrice), 0n);
        return inTenThousandths(totalOf(lines, 'lines')) === exact;
      }),
    );
  });

  it('gives back what it took: an amount and its negation are zero', () => {
    fc.assert(fc.property(amount, (value) => inTenThousandths(negated(written(value))) === -value));
    expect(negated(ZERO)).toBe(ZERO);
  });

  it('takes a JSON number as the text that it is written as', () => {
    fc.assert(fc.property(fc.bigInt({ min: -(10n ** 14n), max: 10n ** 14n }), (value) => parseMoney(Number(written(value)), 'price') === written(value)));
  });

  it.each([
    ['3.91', '3.9100'],
    ['0', '0.0000'],
    ['-0', '0.0000'],
    ['007.5', '7.5000'],
    [0.1, '0.1000'],
    [19.95, '19.9500'],
    [-2, '-2.0000'],
    ['999999999999999.9999', '999999999999999.9999'],
  ])('reads %j as %s', (value, money) => {
    expect(parseMoney(value, 'price')).toBe(money);
  });

  it.each([
    '',
    ' 1',
    '1 ',
    '+1',
    '1.',
    '.5',
    '1e3',
    '1,5',
    '0x10',
    '1.00001',
    '1000000000000000',
    'NaN',
    'Infinity',
    '１',
    1e-7,
    0.00001,
    1e21,
    Number.NaN,
    0.1 + 0.2,
    123456789012.3456,
    null,
    undefined,
    true,
    {},
    ['1'],
  ])('refuses %j', (value) => {
    expect(refused(() => parseMoney(value, 'price'))).toBe(true);
  });

  it('refuses a negative price and takes one of zero', () => {
    expect(refused(() => parsePrice('-0.0001', 'price'))).toBe(true);
    expect(parsePrice('0', 'price')).toBe(ZERO);
  });

  it('refuses a total that comes near to what a sum can hold', () => {
    expect(refused(() => totalOf([{ quantity: 1_000_000, unitPrice: '1000000' }], 'lines'))).toBe(true);
    expect(
      refused(() =>
        totalOf(
          [1, 2].map(() => ({ quantity: 1, unitPrice: '500000000000' })),
          'lines',
        ),
      ),
    ).toBe(true);
    expect(totalOf([{ quantity: 1_000_000, unitPrice: '999999.9999' }], 'lines')).toBe('999999999900.0000');
  });

  it.each([
    ['0', ZERO],
    ['-0.0000', ZERO],
    ['2147483647000000000000.0001', '2147483647000000000000.0001'],
  ])('writes the stored sum %s as %s', (sum, money) => {
    expect(storedSum(sum)).toBe(money);
  });
});
