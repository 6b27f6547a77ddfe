import sjson from 'secure-json-parse';
import type { MessageFacts } from '../kernel/message-context.js';
import type { EventMetadata, StoredEvent } from './event-log.js';

/** The facts that are stored beside an event or a job. */
export function storedFacts(facts: MessageFacts, history?: string): string {
  const { messageId, correlationId, depth, actor, traceparent } = facts;
  return JSON.stringify({ correlationId, causationId: messageId, depth, actor, traceparent, history });
}

interface Facts {
  readonly correlationId: string;
  readonly causationId?: string;
  readonly depth?: number;
  readonly actor?: string;
  readonly traceparent?: string;
  readonly history?: string;
}

export const parseFacts = (text: string): Facts => sjson.parse(text) as unknown as Facts;

let last: { readonly text: string; readonly facts: Facts } | undefined;

/** The events of one command have the same facts and mostly follow one another: parsed once for all of them. */
function factsOf(text: string): Facts {
  if (last?.text !== text) last = { text, facts: parseFacts(text) };
  return last.facts;
}

/** Whether `HistoryImport` has appended it. */
export const isHistory = ({ metadata }: StoredEvent): boolean => factsOf(metadata).history !== undefined;

/** What a handler is told about a stored event. Member by member: this runs for every event of a rebuild. */
export function metadataOf(stored: StoredEvent): EventMetadata {
  const { correlationId, causationId, depth, actor, traceparent, history } = factsOf(stored.metadata);
  return {
    eventId: stored.eventId,
    type: stored.type,
    stream: stored.stream,
    version: stored.version,
    recordedAt: new Date(stored.recordedAtMicros / 1_000),
    position: { shard: stored.shard, seq: stored.seq },
    correlationId,
    causationId,
    depth,
    actor,
    tenant: stored.tenant === '' ? undefined : stored.tenant,
    traceparent,
    history,
  };
}

/** The facts of handling an event: what it causes is caused by the event. */
export function factsOfEvent(metadata: EventMetadata): MessageFacts {
  const { eventId, correlationId, causationId, depth, actor, tenant, traceparent } = metadata;
  return { messageId: eventId, correlationId, causationId, depth, actor, tenant, traceparent };
}
