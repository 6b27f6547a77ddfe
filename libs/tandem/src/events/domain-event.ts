import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';

/** `[category, id]`: the stream is stored as `category-id`, e.g. `order-17`. */
export type StreamName = readonly [category: string, id: string];

export interface DomainEventOptions<E> {
  /** Of the payload's shape; raise it when the shape changes. From 1. */
  readonly version: number;
  /** The stream that the event belongs to: its aggregate. */
  readonly stream: (event: E) => StreamName;
}

export interface DomainEventDefinition<E extends object = object> extends DomainEventOptions<E> {
  /** Stable name, stored with every event: never the class name. */
  readonly name: string;
  readonly eventClass: Type<E>;
}

const DOMAIN_EVENT = 'tandem:domain-event';
const OPTIONS: Readonly<Record<keyof DomainEventOptions<object>, true>> = { version: true, stream: true };
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;
/** Ids are compared byte for byte, on every database. */
const STREAM = /^[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,199}$/;

/**
 * Makes a class an event of the log. `e` in `stream` is the decorated class, so a misspelt member does not compile.
 *
 * @example `@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.orderId] })`
 * @throws TANDEM_WIRING for an unknown option, a name that is not lower-case letters, digits, dots, dashes, a version that is not a whole number from 1.
 */
export function DomainEvent<E extends object>(name: string, options: DomainEventOptions<E>): (target: Type<E>) => void {
  return (target) => {
    const where = `@DomainEvent('${name}') on ${target.name}`;
    const given = knownOptions(where, options, OPTIONS);
    if (!NAME.test(name)) throw new TandemError('TANDEM_WIRING', `${where}: a name is lower-case letters, digits, dots and dashes`);
    if (!Number.isInteger(options.version) || options.version < 1) throw new TandemError('TANDEM_WIRING', `${where}: version is a whole number from 1`);
    Reflect.defineMetadata(DOMAIN_EVENT, Object.freeze({ ...given, name, eventClass: target }), target);
  };
}

/** The definition of an event class, or undefined when it has no `@DomainEvent` of its own. */
export const domainEventOf = (eventClass: object): DomainEventDefinition | undefined => Reflect.getOwnMetadata(DOMAIN_EVENT, eventClass) as DomainEventDefinition | undefined;

/** True for an instance of a class with `@DomainEvent`. @throws TANDEM_WIRING when only a class that it extends has one: it would bypass the log. */
export function isDomainEvent(event: object): boolean {
  if (domainEventOf(event.constructor)) return true;
  const inherited = Reflect.getMetadata(DOMAIN_EVENT, event.constructor) as DomainEventDefinition | undefined;
  if (!inherited) return false;
  throw new TandemError('TANDEM_WIRING', `${event.constructor.name} extends the domain event ${inherited.eventClass.name} but has no @DomainEvent`, {
    next: 'Give it a @DomainEvent of its own, with a name of its own.',
  });
}

/** The stored stream name of an event. @throws TANDEM_PAYLOAD_REFUSED for an id that is empty or has characters that databases compare differently. */
export function streamOf(event: object): string {
  const definition = domainEventOf(event.constructor);
  if (!definition) throw new TandemError('TANDEM_WIRING', `${event.constructor.name} has no @DomainEvent`);
  const [category, id] = definition.stream(event);
  const stream = `${category}-${id}`;
  if (typeof id !== 'string' || id === '' || !STREAM.test(stream)) {
    throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${definition.name}: "${stream}" is not a stream name (letters, digits and ._:@/+=-, at most 200)`);
  }
  return stream;
}

const PROBE = '\u0000probe';
const categories = new WeakMap<object, string | undefined>();

/** The category that every event of a class has, or undefined where it depends on the event. Asked of an event whose members are all a mark. */
export function categoryOf(eventClass: object): string | undefined {
  if (!categories.has(eventClass)) categories.set(eventClass, probedCategory(domainEventOf(eventClass)!));
  return categories.get(eventClass);
}

function probedCategory({ stream }: DomainEventDefinition): string | undefined {
  try {
    const [category] = stream(new Proxy({}, { get: () => PROBE }));
    return category.includes(PROBE) ? undefined : category;
  } catch {
    // `stream` computes with a member in a way that a mark does not stand: so it may depend on it.
    return undefined;
  }
}
