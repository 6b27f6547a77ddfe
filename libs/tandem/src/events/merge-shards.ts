import type { EventKey } from './event-log.js';

export interface MergeLimits {
  /** Events recorded at this time or later wait for the next read. Microseconds since the epoch. */
  readonly cutMicros: number;
  /** Events recorded at this time or later are none of this read's. Default: none are. */
  readonly untilMicros?: number;
  readonly maxEvents: number;
  readonly maxBytes: number;
}

export interface Merged<K extends EventKey = EventKey> {
  readonly keys: readonly K[];
  /** More is there that this read left out. */
  readonly more: boolean;
}

/** What was read of one shard: keys in order, and whether the shard goes on beyond them. */
export interface ShardKeys<K extends EventKey = EventKey> {
  readonly keys: readonly K[];
  readonly truncated: boolean;
}

/** An event further ahead of the cut than this was recorded before the database's clock was set back: waiting for it would stall. */
const CLOCK_STEP_MICROS = 1_000_000;

const waits = (key: EventKey, cutMicros: number): boolean => key.recordedAtMicros >= cutMicros && key.recordedAtMicros < cutMicros + CLOCK_STEP_MICROS;

interface Cursor<K extends EventKey> {
  readonly shard: ShardKeys<K>;
  next: number;
}

/** Of two that were recorded at the same time (an import in one unit of work), the shard that has given less: else one shard runs dry first. */
function isBefore<K extends EventKey>(a: Cursor<K>, b: Cursor<K>): boolean {
  const difference = a.shard.keys[a.next]!.recordedAtMicros - b.shard.keys[b.next]!.recordedAtMicros;
  return difference < 0 || (difference === 0 && a.next < b.next);
}

/**
 * Merges shards by recording time without reordering a shard: always takes the shard whose next event is the oldest. Stops
 * when a shard that goes on has run dry, since its next event, unknown, might be the cause of what the others hold.
 */
export function mergeShards<K extends EventKey>(shards: readonly ShardKeys<K>[], limits: MergeLimits): Merged<K> {
  const heap = shards.map((shard): Cursor<K> => ({ shard, next: 0 })).filter(({ shard }) => shard.keys.length > 0);
  const merged: K[] = [];
  let bytes = 0;
  while (heap.length > 0) {
    let oldest = heap[0]!;
    for (const candidate of heap) if (isBefore(candidate, oldest)) oldest = candidate;
    const key = oldest.shard.keys[oldest.next]!;
    // Everything else is at least as young, so all of it stays, or waits.
    if (limits.untilMicros !== undefined && key.recordedAtMicros >= limits.untilMicros) return { keys: merged, more: false };
    if (waits(key, limits.cutMicros)) return { keys: merged, more: true };
    if (merged.length >= limits.maxEvents || (merged.length > 0 && bytes + key.payloadBytes > limits.maxBytes)) return { keys: merged, more: true };
    merged.push(key);
    bytes += key.payloadBytes;
    oldest.next++;
    if (oldest.next === oldest.shard.keys.length) {
      if (oldest.shard.truncated) return { keys: merged, more: true };
      heap.splice(heap.indexOf(oldest), 1);
    }
  }
  return { keys: merged, more: false };
}
