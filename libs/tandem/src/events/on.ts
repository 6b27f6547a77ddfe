import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { knownOptions } from '../kernel/known-options.js';
import type { EventMetadata } from './event-log.js';
import type { EntityManagerOf } from './storage-types.js';

/** A row's key: one value for a single primary column, an object for several. */
export type RowKey = string | number | Readonly<Record<string, string | number>>;

/** Which row or rows an event changes. A function answers null to skip the event. */
export type KeyOf<E, K extends RowKey = RowKey> = ((event: E, metadata: EventMetadata) => K | readonly K[] | null) | KeyLookup<E, K>;

export interface KeyLookup<E, K extends RowKey = RowKey> {
  /**
   * Asked once per batch: one answer for each event, in order. It sees what earlier batches wrote, not this one's rows.
   * Null says "not found": TANDEM_ROW_MISSING, unless `whenMissing` is `ignore`. An empty list skips the event.
   */
  readonly lookup: (events: readonly E[], manager: EntityManagerOf) => Promise<readonly (K | readonly K[] | null)[]>;
}

export interface OnOptions<E = never, K extends RowKey = RowKey> {
  /** Which row (or rows) the event changes; null skips it. Default: the row whose key is the stream's id. */
  readonly key?: KeyOf<E, K>;
  /** When no row has that key. Default `create`. `fail` makes the event a dead letter, `ignore` skips it. */
  readonly whenMissing?: 'create' | 'fail' | 'ignore';
  /** Deletes the row after the handler ran. Default false. */
  readonly delete?: boolean;
}

/** How a method was marked. Read by the consumer that its class declares. */
export interface OnMark {
  readonly method: string;
  readonly event: Type<object>;
  readonly kind: 'on' | 'delta';
  readonly options: OnOptions<unknown>;
}

const ON = 'tandem:on';
const OPTIONS: Readonly<Record<keyof OnOptions, true>> = { key: true, whenMissing: true, delete: true };

type Mismatch<E> = { readonly 'the method must take the event that the decorator names': E };
/** `(event, metadata)` of a saga, `(event, metadata, manager, context)` of a free projection, or `(row, event, metadata)` of a row projection. */
type Takes<M, E> = M extends (...args: infer P) => unknown
  ? P extends []
    ? unknown
    : E extends P[0]
      ? unknown
      : P extends [unknown, infer Second, ...unknown[]]
        ? E extends Second
          ? unknown
          : Mismatch<E>
        : Mismatch<E>
  : never;
/** With options only the row form is left, so a method may also take the row alone. */
type TakesRow<M, E> = M extends (...args: infer P) => unknown ? (P extends [unknown, infer Second, ...unknown[]] ? (E extends Second ? unknown : Mismatch<E>) : unknown) : never;

/** Keys among K that are no key of a row V: a member that V does not have, or of another type. A key that is one value, or untyped, says nothing about members. */
type BadKey<K, V> = 0 extends 1 & K
  ? never
  : K extends string | number
    ? never
    : string extends keyof K
      ? never
      : K extends { readonly [P in keyof K]: P extends keyof V ? KeyMember<V[P]> : never }
        ? never
        : K;
type KeyMember<T> = T extends string ? string : T extends number ? number | string : never;
/** Refuses a method whose row V does not have the key that `key` answers. */
export type KeyFits<K, V> = [BadKey<K, V>] extends [never] ? unknown : { readonly 'the key must be made of columns of the row': BadKey<K, V> };
type KeyFitsRow<M, K> = M extends (...args: infer P) => unknown ? (P extends [infer Row, ...unknown[]] ? KeyFits<K, Row> : unknown) : never;

type Marks<E> = <M extends (...args: never[]) => unknown>(target: object, method: string, descriptor: TypedPropertyDescriptor<M> & Takes<M, E>) => void;
type MarksRow<E, K> = <M extends (...args: never[]) => unknown>(target: object, method: string, descriptor: TypedPropertyDescriptor<M> & TakesRow<M, E> & KeyFitsRow<M, K>) => void;

/**
 * Marks a method of a saga or projection as the one that handles an event class. A method may carry several.
 * A class with another event in its signature, or a key that the row does not have, does not compile.
 * @throws TANDEM_WIRING for an unknown option.
 */
export function On<E extends object>(event: Type<E>): Marks<E>;
export function On<E extends object, K extends RowKey = RowKey>(event: Type<E>, options: OnOptions<E, K>): MarksRow<E, K>;
export function On(event: Type<object>, options: OnOptions<unknown> = {}): (target: object, method: string) => void {
  return (target, method) => {
    const given = knownOptions(markOf('On', event, target, method), options, OPTIONS);
    addOnMark(target, { method, event, kind: 'on', options: given });
  };
}

/** For messages: which mark on which method. A class that its own file imports in a circle is not there yet. */
export const markOf = (decorator: 'On' | 'OnDelta', event: Type<object> | undefined, target: object, method: string): string =>
  `@${decorator}(${event?.name}) on ${target.constructor.name}.${method}`;

export function addOnMark(target: object, mark: OnMark): void {
  Reflect.defineMetadata(ON, [...ownMarks(target), mark], target);
}

/** The marks of a class and of those that it extends, nearest first. A method that a subclass marks again for the same event counts once. */
export function onMarks(consumerClass: Type): readonly OnMark[] {
  const found: OnMark[] = [];
  for (let proto = consumerClass.prototype as object | null; proto; proto = Object.getPrototypeOf(proto) as object | null) found.push(...ownMarks(proto));
  return found.filter((mark, index) => found.findIndex(({ method, event }) => method === mark.method && event === mark.event) === index);
}

const ownMarks = (target: object): readonly OnMark[] => (Reflect.getOwnMetadata(ON, target) as readonly OnMark[] | undefined) ?? [];
