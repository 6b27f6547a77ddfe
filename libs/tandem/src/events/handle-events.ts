import { isTandemError, TandemError } from '../kernel/errors.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from './consumer.js';
import { domainEventOf } from './domain-event.js';
import { isHistory, metadataOf } from './event-metadata.js';
import type { StoredEvent } from './event-log.js';
import { decodePayload } from './payload.js';

/**
 * Decodes and handles. A failure in a batch of one is that event's, whatever was thrown. A handler that catches the error of a
 * statement leaves it to the next one (PostgreSQL): then the event that is named is the wrong one.
 */
export async function handleEvents(unit: Unit, consumer: Consumer, read: readonly StoredEvent[]): Promise<void> {
  // What happened before the log was reacted to when it happened: of history only rows are made.
  const stored = consumer.kind === 'projection' ? read : read.filter((event) => !isHistory(event));
  if (stored.length === 0) return;
  const events = decodeEvents(consumer, stored);
  try {
    await consumer.handle(unit, events);
    const { doomedBy } = unit;
    if (doomedBy !== undefined) throw doomedBy instanceof Error ? doomedBy : new Error('The transaction has ended', { cause: doomedBy });
  } catch (error) {
    const cause = error instanceof EventFailure ? error.cause : error;
    if (stored.length > 1) throw isTandemError(cause, 'TANDEM_UNIT_OF_WORK_DOOMED') ? cause : error;
    throw error instanceof EventFailure ? error : new EventFailure(stored[0]!, error);
  }
}

/** A read that decodes all of a batch's events; an event that does not decode is a failed event, not a failed batch. */
function decodeEvents(consumer: Consumer, stored: readonly StoredEvent[]): ConsumedEvent[] {
  const classes = new Map(consumer.events.map((eventClass) => [domainEventOf(eventClass)!.name, domainEventOf(eventClass)!]));
  return stored.map((event) => {
    const definition = classes.get(event.type)!;
    if (event.schemaVersion > definition.version) {
      throw new TandemError('TANDEM_EVENT_UNKNOWN', `${consumer.name} met ${event.type} of version ${event.schemaVersion}, its code knows ${definition.version}`);
    }
    try {
      return { event: decodePayload(definition.eventClass, event.payload), metadata: metadataOf(event), stored: event };
    } catch (cause) {
      throw new EventFailure(event, cause);
    }
  });
}
