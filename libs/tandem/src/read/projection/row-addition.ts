import { Big } from 'big.js';
import { TandemError } from '../../kernel/errors.js';
import { exactAmount, type AddableColumn, Delta } from './delta.js';
import type { RowShape } from './row-store.js';

/** @throws TANDEM_WIRING */
export function checkAddable(shape: RowShape, column: string): void {
  const columns = shape.columns.filter((each) => !each.includes('.')); // not inside an embedded object
  if (!columns.includes(column)) {
    throw new TandemError('TANDEM_WIRING', `"${column}" is no column that can be added to; there are ${columns.join(', ')}`, {
      next: 'Correct the column that the handler adds to.',
    });
  }
}

/** A delta on a row in memory: for projections that also change their rows, where the order of both counts. */
export class RowAddition<V extends object> extends Delta<V> {
  constructor(
    private readonly row: V,
    private readonly shape: RowShape,
  ) {
    super();
  }

  override add(column: AddableColumn<V>, amount: number | string): this {
    checkAddable(this.shape, column);
    const row = this.row as Record<string, unknown>;
    const before = row[column];
    const sum = new Big((before as string | number | null | undefined) ?? 0).plus(exactAmount(amount, column));
    row[column] = typeof before === 'number' ? exactNumber(sum, column) : sum.toFixed();
    return this;
  }
}

function exactNumber(sum: Big, column: string): number {
  const value = sum.toNumber();
  if (new Big(value).eq(sum)) return value;
  throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${column} would become ${sum.toFixed()}, which a number does not hold exactly`);
}
