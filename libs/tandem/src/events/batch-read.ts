/** What a batch reads: from the claimed checkpoints to the heads, in one statement, merged into one order. */
import type { Unit } from '../kernel/unit-of-work.js';
import type { Claim } from './consumer-store.js';
import type { EventKey, EventLog, Heads, Position, ReadKey, ShardRange } from './event-log.js';
import { type Merged, type MergeLimits, mergeShards } from './merge-shards.js';

export interface Reading {
  readonly claim: Claim;
  readonly heads: Heads;
  /** Stored types whose small payloads come along. */
  readonly types: readonly string[];
  readonly limits: Omit<MergeLimits, 'cutMicros'>;
}

/** What a batch has read. */
export interface Read extends Merged<ReadKey> {
  readonly gap?: Position;
  /** Why the log is not the one that the checkpoints were written for. */
  readonly wentBack?: string;
}

export async function readBatch(unit: Unit, log: EventLog, { claim, heads, types, limits }: Reading): Promise<Read> {
  const ranges = claim.checkpoints.map(({ shard, seq }) => ({ shard, after: seq, upTo: heads.heads.get(shard) ?? 0 })).filter(({ after, upTo }) => upTo > after);
  if (ranges.length === 0) return { keys: [], more: false };
  const first = firstOf(ranges, limits.maxEvents);
  const maxBytes = Math.floor(limits.maxBytes / first.reduce((sum, { after, upTo }) => sum + upTo - after, 0));
  const byShard = new Map<number, ReadKey[]>(ranges.map(({ shard }) => [shard, []]));
  const checked = first.map((range) => withCheckpoint(range, claim));
  for (const key of await log.readKeys(unit, checked, { types, maxBytes })) byShard.get(key.shard)!.push(key);
  const wentBack = whyNotThisLog(claim, byShard);
  if (wentBack !== undefined) return { keys: [], more: false, wentBack };
  const shards = ranges.map(({ shard, after, upTo }) => {
    const keys = contiguous(byShard.get(shard)!, after);
    return { keys, truncated: (keys.at(-1)?.seq ?? after) < upTo };
  });
  // A shard whose next event is not readable yet (a gap) holds back the merge like one that was cut off.
  const gap = shards.findIndex(({ keys, truncated }) => truncated && keys.length === 0);
  if (gap !== -1) return { keys: [], more: true, gap: { shard: ranges[gap]!.shard, seq: ranges[gap]!.after + 1 } };
  return mergeShards(shards, { ...limits, cutMicros: heads.cutMicros });
}

/** Of a shard that is hardly behind. */
const AT_LEAST = 16;

/**
 * How much is read of each shard: its share of what there is to read. Of shards that grow alike in time none then runs dry long
 * before the others, which would end the merge; one that grows faster than the others is given more.
 */
function firstOf(ranges: readonly ShardRange[], batchSize: number): readonly ShardRange[] {
  const behind = ranges.reduce((sum, { after, upTo }) => sum + upTo - after, 0);
  return ranges.map(({ shard, after, upTo }) => ({ shard, after, upTo: Math.min(upTo, after + AT_LEAST + Math.ceil((batchSize * (upTo - after)) / behind)) }));
}

/** From the event at the checkpoint on, where that is known: it is read again to see that it is the same. */
function withCheckpoint(range: ShardRange, claim: Claim): ShardRange {
  const known = claim.checkpoints.some(({ shard, seq, eventId }) => shard === range.shard && seq === range.after && eventId !== null);
  return known ? { ...range, after: range.after - 1 } : range;
}

/** Compares the events at the checkpoints with those that stood there, and leaves only what comes behind them. */
function whyNotThisLog({ checkpoints }: Claim, byShard: ReadonlyMap<number, ReadKey[]>): string | undefined {
  for (const { eventId, seq, shard } of checkpoints) {
    const keys = byShard.get(shard);
    if (keys?.[0]?.seq !== seq) continue;
    const { eventId: found } = keys.shift()!;
    if (found !== eventId) return logWentBack(`event ${seq} of shard ${shard} was ${eventId} and now is ${found}`);
  }
  return undefined;
}

/** The reason that a consumer halts with. */
export const logWentBack = (how: string): string =>
  `the log went back: ${how}. Were the events restored from a backup, restore what this consumer wrote from the same one, or build it anew under another name`;

function contiguous<K extends EventKey>(keys: readonly K[], after: number): readonly K[] {
  for (let i = 0; i < keys.length; i++) if (keys[i]!.seq !== after + i + 1) return keys.slice(0, i);
  return keys;
}
