/** What a batch that failed knows when it is tried again, and when that is worth nothing any more. */
import type { Claim } from './consumer-store.js';
import type { DeadLetter } from './dead-letter-store.js';
import type { EventKey, StoredEvent } from './event-log.js';
import { type BatchOutcome, type Failed, FAILURES_AT_ONCE } from './failure-streaks.js';
import type { Merged } from './merge-shards.js';

/** What one batch has learnt from its failed tries. */
export interface Lessons {
  /** Stream id → its event that failed, and what its letter had counted by then, if it had one. */
  readonly failed: Map<string, Failed & { readonly counted: number | undefined }>;
  /** Event → what its letter had counted when the last try began. */
  counted: ReadonlyMap<string, number>;
  /** Of the rows that the last try was for. */
  generation?: number;
  maxEvents: number;
  tries: number;
  /** Of the last try. */
  outcome?: BatchOutcome;
}

/** In the place of a count. */
const DISCARDED = -1;

/** Without its payload: lessons may be kept for a while. */
export const keyOf = ({ eventId, payloadBytes, recordedAtMicros, schemaVersion, seq, shard, stream, tenant, type, version }: StoredEvent): EventKey => ({
  ...{ eventId, payloadBytes, recordedAtMicros, schemaVersion, seq, shard, stream, tenant, type, version },
});

export const streamId = (event: { readonly tenant: string; readonly stream: string }): string => `${event.tenant}\n${event.stream}`;

/**
 * Between two tries another worker, or an operator, may have settled what failed here: passed it, held its stream, counted a failure of its own, discarded it, or
 * made the rows anew. Of a consumer that halts, a letter whose count is another one tells.
 */
export function forgetSettled(lessons: Lessons, claim: Claim, { behind, ahead }: { readonly behind: readonly DeadLetter[]; readonly ahead: readonly DeadLetter[] }): void {
  const { failed, generation } = lessons;
  const now = new Map(ahead.map(({ attempts, eventId, state }) => [eventId, state === 'discarded' ? DISCARDED : attempts]));
  lessons.counted = now;
  lessons.generation = claim.generation;
  if (failed.size === 0) return;
  if (generation !== claim.generation) return failed.clear();
  for (const letter of behind) failed.delete(streamId(letter));
  const at = new Map(claim.checkpoints.map(({ shard, seq }) => [shard, seq]));
  for (const [stream, { counted, event }] of failed) {
    const seq = at.get(event.shard);
    if (seq !== undefined && (event.seq <= seq || now.get(event.eventId) !== counted)) failed.delete(stream);
  }
}

/** After several failures a batch ends at the last of them, so that what it has done commits. */
export function cutBehindFailures<K extends EventKey>(merged: Merged<K>, { failed }: Lessons): Merged<K> {
  if (failed.size < FAILURES_AT_ONCE) return merged;
  const ids = new Set([...failed.values()].map(({ event }) => event.eventId));
  const last = merged.keys.findLastIndex((key) => ids.has(key.eventId));
  return last === -1 || last === merged.keys.length - 1 ? merged : { keys: merged.keys.slice(0, last + 1), more: true };
}

/** Of a consumer that halts, nothing behind the first failed event is handled. */
export function cutAtFailure<K extends EventKey>(merged: Merged<K>, lessons: Lessons): readonly K[] {
  const failed = new Set([...lessons.failed.values()].map(({ event }) => event.eventId));
  const first = merged.keys.findIndex((key) => failed.has(key.eventId));
  return first === -1 ? merged.keys : merged.keys.slice(0, first);
}
