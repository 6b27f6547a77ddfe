import type { Consumer } from './consumer.js';
import type { Claim } from './consumer-store.js';
import type { NewDeadLetter } from './dead-letter-store.js';
import type { EventKey } from './event-log.js';

interface Failure {
  readonly cause: unknown;
  readonly attempts: number;
  readonly parked: boolean;
  readonly retryInMs: number;
}

/** A failed event of a claim, as it is held. */
export function deadLetter(consumer: Consumer, claim: Claim, event: EventKey, failure: Failure): NewDeadLetter {
  const { tenant, stream, eventId, type, shard, seq } = event;
  const { attempts, cause, parked, retryInMs } = failure;
  return {
    consumer: consumer.name,
    generation: claim.generation,
    tenant,
    stream,
    eventId,
    type,
    shard,
    seq,
    attempts,
    retryInMs,
    error: describeError(cause),
    state: parked ? 'parked' : 'retrying',
  };
}

/** Code and message, cut to what a column holds. Never the payload. */
export function describeError(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : String(error);
  return `${typeof code === 'string' && !message.startsWith(code) ? `${code}: ` : ''}${message}`.slice(0, 1_000);
}
