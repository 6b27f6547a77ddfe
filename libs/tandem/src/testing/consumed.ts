import type { ConsumedEvent } from '../events/consumer.js';
import { domainEventOf, streamOf } from '../events/domain-event.js';
import { shardOf, type EventMetadata } from '../events/event-log.js';
import { newId } from '../kernel/new-id.js';

/** An event as a consumer is given it, without a log: for specs of projections and sagas. */
export function consumed(event: object, metadata: Partial<EventMetadata> = {}): ConsumedEvent {
  const { name: type, version: schemaVersion } = domainEventOf(event.constructor)!;
  const stream = streamOf(event);
  const tenant = metadata.tenant ?? '';
  const eventId = metadata.eventId ?? newId();
  const position = metadata.position ?? { shard: shardOf(tenant, stream), seq: 1 };
  const version = metadata.version ?? 1;
  const recordedAt = metadata.recordedAt ?? new Date(0);
  const payload = JSON.stringify(event);
  return {
    event,
    metadata: { eventId, type, stream, version, recordedAt, position, correlationId: eventId, ...metadata },
    stored: {
      ...position,
      eventId,
      tenant,
      stream,
      version,
      type,
      schemaVersion,
      recordedAtMicros: recordedAt.getTime() * 1_000,
      payloadBytes: payload.length,
      payload,
      metadata: '{}',
    },
  };
}
