import { EventFailure, type ConsumedEvent } from '../../events/consumer.js';
import { domainEventOf } from '../../events/domain-event.js';
import { factsOfEvent } from '../../events/event-metadata.js';
import type { OnMark } from '../../events/on.js';
import { TandemError } from '../../kernel/errors.js';
import { runWithMessage } from '../../kernel/message-context.js';

/** An instance of a projection class, and what is known of its methods. */
export interface DeclaredProjection {
  readonly instance: object;
  readonly marks: readonly OnMark[];
  /** How long one of its promises may take. */
  readonly handlerTimeoutMs: number;
}

/** Marks by the stored type of their event. */
export function marksByType(marks: readonly OnMark[]): ReadonlyMap<string, readonly OnMark[]> {
  const byType = new Map<string, OnMark[]>();
  for (const mark of marks) {
    const type = domainEventOf(mark.event)?.name;
    if (type !== undefined) byType.set(type, [...(byType.get(type) ?? []), mark]);
  }
  return byType;
}

/** Calls a marked method as it is now, so that a spy on the instance is called too. */
export function callMarked(instance: object, mark: OnMark, args: readonly unknown[]): unknown {
  return (instance as Record<string, (...args: readonly unknown[]) => unknown>)[mark.method]!(...args);
}

/** Runs what handles one event as a message of its own; an error names the event. */
export function handlingEvent<T>(consumed: ConsumedEvent, work: () => T): T {
  return namingEvent(consumed, () => runWithMessage(factsOfEvent(consumed.metadata), work));
}

/** An error names the event. */
export function namingEvent<T>(consumed: ConsumedEvent, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw failureOf(consumed, cause);
  }
}

/** An error that names the event. */
export const failureOf = ({ stored }: ConsumedEvent, cause: unknown): EventFailure => (cause instanceof EventFailure ? cause : new EventFailure(stored, cause));

/** Row methods run between one SELECT and one write: there is nothing that they could wait for. */
export function refusePromise(result: unknown, instance: object, mark: OnMark): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return;
  Promise.resolve(result).catch(() => undefined); // the error below is thrown in its stead
  throw new TandemError('TANDEM_WIRING', `${instance.constructor.name}.${mark.method} returned a promise, but methods of a row projection are synchronous`, {
    next: 'Take what it needs from the event or through a key `lookup`, or make the projection a free one (without `entity`).',
  });
}
