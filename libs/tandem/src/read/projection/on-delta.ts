import type { Type } from '@nestjs/common';
import { addOnMark, type KeyFits, type KeyOf, markOf, type OnOptions, type RowKey } from '../../events/on.js';
import { knownOptions } from '../../kernel/known-options.js';
import type { Delta } from './delta.js';

export interface OnDeltaOptions<E, K extends RowKey = RowKey> {
  /** Which row (or rows) the event adds to; null skips it. An object names columns of the row: `(e) => ({ country: e.country })`. */
  readonly key: KeyOf<E, K>;
}

const OPTIONS: Readonly<Record<keyof OnDeltaOptions<never>, true>> = { key: true };

type Mismatch<E> = { readonly 'the method must take a Delta of the row, then the event that the decorator names': E };
type TakesDelta<M, E, K> = M extends (...args: infer P) => unknown
  ? P extends [Delta<infer V>, ...infer Rest]
    ? KeyFits<K, V> & (Rest extends [infer Second, ...unknown[]] ? (E extends Second ? unknown : Mismatch<E>) : unknown)
    : Mismatch<E>
  : never;
type MarksDelta<E, K> = <M extends (...args: never[]) => unknown>(target: object, method: string, descriptor: TypedPropertyDescriptor<M> & TakesDelta<M, E, K>) => void;

/**
 * Marks a method `(row: Delta<Row>, event, metadata)` of a projection that only adds to its rows. Sums of one batch are written
 * as `column = column + ?`, so rows that many streams feed may be projected in parallel.
 * A key that is no column of the row, a misspelt column and a class with another event in its signature do not compile.
 * @throws TANDEM_WIRING for an unknown option.
 *
 * @example `@OnDelta(OrderPlaced, { key: (e) => ({ country: e.country }) }) placed(row: Delta<CountrySales>, e: OrderPlaced) { row.add('orders', 1).add('netSales', e.total); }`
 */
export function OnDelta<E extends object, K extends RowKey = RowKey>(event: Type<E>, options: OnDeltaOptions<E, K>): MarksDelta<E, K> {
  return (target: object, method: string) => {
    const given = knownOptions(markOf('OnDelta', event, target, method), options, OPTIONS);
    addOnMark(target, { method, event, kind: 'delta', options: given as OnOptions<unknown> });
  };
}
