import type { ExpectedVersion as Version } from './event-log.js';

const expected = new WeakMap<object, Version>();

/**
 * Says at which version an event's stream must be when the event is appended. Several events of one stream: say it of the first.
 * When it is at another, the command fails with an `OptimisticConcurrencyError` and nothing is written.
 *
 * @example `this.events.publish(ExpectedVersion.none(new OrderPlaced(orderId)))`
 */
export const ExpectedVersion = {
  /** The event is the first of its stream. */
  none<E extends object>(event: E): E {
    expected.set(event, 'none');
    return event;
  },
  /** The stream's last event has this version. */
  exactly<E extends object>(event: E, version: number): E {
    expected.set(event, version);
    return event;
  },
} as const;

export const expectedVersionOf = (event: object): Version => expected.get(event) ?? 'any';
