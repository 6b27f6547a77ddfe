import { Big } from 'big.js';
import { callMarked, refusePromise } from './projection-marks.js';
import { checkAddable } from './row-addition.js';
import { exactAmount, type AddableColumn, Delta } from './delta.js';
import type { NamedKey } from './row-key.js';
import type { RowStep } from './row-steps.js';
import type { RowDelta, RowShape } from './row-store.js';

/** What a batch adds, summed by row and column. */
export class SummedDeltas {
  private readonly sums = new Map<string, { readonly key: NamedKey; readonly add: Map<string, Big> }>();

  constructor(
    private readonly instance: object,
    private readonly shape: RowShape,
  ) {}

  apply({ mark, keys, consumed: { event, metadata } }: RowStep): void {
    for (const key of keys) {
      const delta = new RowSum<object>(this.shape, (column, amount) => this.add(key, column, amount));
      refusePromise(callMarked(this.instance, mark, [delta, event, metadata]), this.instance, mark);
    }
  }

  deltas(): readonly RowDelta[] {
    return [...this.sums.values()].map(({ key, add }) => ({ key: key.values, add: new Map([...add].map(([column, sum]) => [column, sum.toFixed()])) }));
  }

  private add(key: NamedKey, column: string, amount: Big): void {
    const { add } = this.sums.get(key.id) ?? { add: new Map<string, Big>() };
    this.sums.set(key.id, { key, add });
    add.set(column, add.get(column)?.plus(amount) ?? amount);
  }
}

class RowSum<V> extends Delta<V> {
  constructor(
    private readonly shape: RowShape,
    private readonly sum: (column: string, amount: Big) => void,
  ) {
    super();
  }

  override add(column: AddableColumn<V>, amount: number | string): this {
    checkAddable(this.shape, column);
    this.sum(column, exactAmount(amount, column));
    return this;
  }
}
