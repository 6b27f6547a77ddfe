import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EventKey } from './event-log.js';
import { mergeShards, type ShardKeys } from './merge-shards.js';

const key = (shard: number, seq: number, recordedAtMicros: number, payloadBytes = 1): EventKey => ({
  shard,
  seq,
  recordedAtMicros,
  payloadBytes,
  eventId: `${shard}/${seq}`,
  tenant: '',
  stream: `s-${shard}`,
  version: seq,
  type: 't',
  schemaVersion: 1,
});
const noLimits = { cutMicros: Number.MAX_SAFE_INTEGER, maxEvents: 1_000, maxBytes: 1_000_000 };
const ids = (merged: { keys: readonly EventKey[] }) => merged.keys.map(({ eventId }) => eventId);

describe('mergeShards', () => {
  it('takes the oldest next event and never reorders a shard, even where its clock went back', () => {
    const shards = [
      { keys: [key(1, 1, 30), key(1, 2, 10)], truncated: false },
      { keys: [key(2, 1, 20), key(2, 2, 40)], truncated: false },
    ];
    expect(ids(mergeShards(shards, noLimits))).toEqual(['2/1', '1/1', '1/2', '2/2']);
  });

  it('stops where a shard that goes on has run dry: its next event may be the cause of the rest', () => {
    const shards = [
      { keys: [key(1, 1, 10)], truncated: true },
      { keys: [key(2, 1, 5), key(2, 2, 20)], truncated: false },
    ];
    expect(mergeShards(shards, noLimits)).toMatchObject({ more: true, keys: [{ eventId: '2/1' }, { eventId: '1/1' }] });
  });

  it('is done with what was recorded before a bound, however far the rest is', () => {
    const shards = [
      { keys: [key(1, 1, 99), key(1, 2, 100)], truncated: true },
      { keys: [key(2, 1, 50), key(2, 2, 9_000_000)], truncated: false },
    ];
    expect(mergeShards(shards, { ...noLimits, untilMicros: 100 })).toMatchObject({ more: false, keys: [{ eventId: '2/1' }, { eventId: '1/1' }] });
  });

  it('leaves what was recorded at or after the cut for the next read, but does not wait for a clock that was set back', () => {
    const shards = [{ keys: [key(1, 1, 99), key(1, 2, 100)], truncated: false }];
    expect(mergeShards(shards, { ...noLimits, cutMicros: 100 })).toMatchObject({ more: true, keys: [{ eventId: '1/1' }] });
    const setBack = [{ keys: [key(1, 1, 3_600_000_000)], truncated: false }];
    expect(ids(mergeShards(setBack, { ...noLimits, cutMicros: 100 }))).toEqual(['1/1']);
  });

  it('takes in turns from shards whose events were recorded at the same time', () => {
    const shards = [1, 2, 3].map((shard) => ({ keys: [key(shard, 1, 5), key(shard, 2, 5)], truncated: true }));
    expect(ids(mergeShards(shards, noLimits))).toEqual(['1/1', '2/1', '3/1', '1/2']);
  });

  it('keeps the limits, and always takes one event', () => {
    const shards = [{ keys: [key(1, 1, 1, 500), key(1, 2, 2, 500)], truncated: false }];
    expect(ids(mergeShards(shards, { ...noLimits, maxBytes: 100 }))).toEqual(['1/1']);
    expect(ids(mergeShards(shards, { ...noLimits, maxEvents: 1 }))).toEqual(['1/1']);
  });

  it('for any shards: every shard in order, and no event before an older one that was readable', () => {
    const shard = fc.tuple(fc.array(fc.nat(50), { maxLength: 8 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(shard, { maxLength: 5 }), fc.nat(60), (input, cutMicros) => {
        const shards: ShardKeys[] = input.map(([times, truncated], index) => ({ truncated, keys: times.toSorted((a, b) => a - b).map((time, at) => key(index, at + 1, time)) }));
        const { keys, more } = mergeShards(shards, { ...noLimits, cutMicros });
        for (const [index, { keys: all }] of shards.entries())
          expect(keys.filter((taken) => taken.shard === index)).toEqual(all.slice(0, keys.filter((taken) => taken.shard === index).length));
        expect(keys.map(({ recordedAtMicros }) => recordedAtMicros)).toEqual(keys.map(({ recordedAtMicros }) => recordedAtMicros).toSorted((a, b) => a - b));
        expect(keys.every(({ recordedAtMicros }) => recordedAtMicros < cutMicros)).toBe(true);
        if (!more) expect(keys.length).toBe(shards.reduce((sum, { keys: all }) => sum + all.length, 0));
      }),
    );
  });
});
