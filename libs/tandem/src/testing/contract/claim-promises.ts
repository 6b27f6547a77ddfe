import assert from 'node:assert/strict';
import type { Claim } from '../../events/consumer-store.js';
import { type Heads, shardOf } from '../../events/event-log.js';
import {
  appendTo,
  claim,
  claimIn,
  CONSUMER,
  type ConsumersUnderTest,
  everyShard,
  inBatch,
  positions,
  registration,
  shardsOf,
  shardsOfStreams,
  spread,
  statusOf,
} from './consumers-under-test.js';
import type { Promises } from './contract-case.js';
import { hasFields, upTo } from './expectations.js';

const registered = (subject: ConsumersUnderTest): Promise<void> => subject.consumers.register([registration()]);
const headsOf = ({ heads }: Heads): (readonly [number, number])[] => [...heads].toSorted(([a], [b]) => a - b);

export const claimPromises: Promises<ConsumersUnderTest> = {
  'a worker’s claim locks what lags, and tells how far the batch may read': async (subject) => {
    await registered(subject);
    hasFields(await claim(subject), { checkpoints: [] });
    await appendTo(subject, 's-1', 's-1', 's-2');
    const found = await claim(subject);
    hasFields(found, { consumer: CONSUMER, generation: 1, state: 'running', types: registration().types });
    assert.deepEqual(shardsOf(found), shardsOfStreams('s-1', 's-2'));
    assert.ok(found!.checkpoints.every(({ seq, eventId }) => seq === 0 && eventId === null));
    assert.deepEqual(headsOf(found!.heads!), headsOf(await subject.log.heads()));
    assert.ok(found!.heads!.cutMicros > 0 && found!.heads!.cutMicros <= (await subject.log.heads()).cutMicros);
  },

  'a claim of shards that are named takes them, lagging or not, in order': async (subject) => {
    await registered(subject);
    assert.deepEqual(shardsOf(await claim(subject, { shards: [9, 3, 40] })), [3, 9, 40]);
    assert.deepEqual(shardsOf(await claim(subject, { wait: true })), everyShard);
    assert.equal(await claim(subject, { shards: [] }), undefined);
  },

  'there is nothing to claim for a consumer that is not registered': async (subject) => {
    assert.equal(await claim(subject, { consumer: 'nobody' }), undefined);
    assert.equal(await claim(subject, { consumer: 'nobody', exclusive: true, wait: true }), undefined);
  },

  'claims keep to their limit, and reach every lagging shard in the end': async (subject) => {
    await registered(subject);
    await appendTo(subject, ...spread);
    for (const _ of upTo(1_000)) {
      const size = await inBatch(subject, async (unit) => {
        const found = await claimIn(subject, unit, { limit: 5 });
        if (!found) return 0;
        const checkpoints = found.checkpoints.map(({ shard }) => ({ shard, seq: 1, eventId: `e-${shard}` }));
        await subject.consumers.advance(unit, found, checkpoints);
        return checkpoints.length;
      });
      assert.ok(size <= 5);
      if (size === 0) break;
    }
    hasFields(await statusOf(subject), { lag: 0 });
    const moved = new Set(shardsOfStreams(...spread));
    assert.deepEqual(await positions(subject), new Map(everyShard.map((shard) => [shard, moved.has(shard) ? 1 : 0])));
  },

  'a claim takes no more shards than hold the events that were asked for': async (subject) => {
    await registered(subject);
    await appendTo(subject, ...spread, ...spread);
    for (const [request, count] of [
      [{ events: 5 }, 3],
      [{ events: 1 }, 1],
      [{ events: 5, limit: 2 }, 2],
      [{ events: spread.length * 2 }, spread.length],
    ] as const)
      assert.equal(shardsOf(await claim(subject, request)).length, count);
  },

  'what a batch advanced is undone when it is rolled back, and its claim is free': async (subject) => {
    await registered(subject);
    await appendTo(subject, 's-1');
    const failing = inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit))!;
      await subject.consumers.advance(unit, found, [{ shard: shardOf('', 's-1'), seq: 1, eventId: 'e' }]);
      throw new Error('handler failed');
    });
    await assert.rejects(failing, /handler failed/);
    hasFields(await statusOf(subject), { lag: 1 });
    assert.deepEqual((await claim(subject))?.checkpoints, [{ shard: shardOf('', 's-1'), seq: 0, eventId: null }]);
  },

  'an advance moves the checkpoints it is given, and no others': async (subject) => {
    await subject.consumers.register([registration(), registration({ name: 'other' })]);
    await inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit, { wait: true }))!;
      await subject.consumers.advance(unit, found, [
        { shard: 3, seq: 7, eventId: 'e7' },
        { shard: 40, seq: 9, eventId: 'e9' },
      ]);
      await subject.consumers.advance(unit, found, []);
    });
    assert.deepEqual(await positions(subject), new Map(everyShard.map((shard) => [shard, { 3: 7, 40: 9 }[shard] ?? 0])));
    assert.deepEqual((await claim(subject, { shards: [3] }))?.checkpoints, [{ shard: 3, seq: 7, eventId: 'e7' }]);
    assert.deepEqual((await claim(subject, { consumer: 'other', shards: [3] }))?.checkpoints, [{ shard: 3, seq: 0, eventId: null }]);
  },
};

/** Looks often enough that something which does not wait would have happened. */
async function staysSo(subject: ConsumersUnderTest, isSo: () => boolean): Promise<void> {
  for (const _ of upTo(20)) await subject.units.outside(() => subject.consumers.status());
  assert.ok(isSo());
}

export const overlappingClaimPromises: Promises<ConsumersUnderTest> = {
  'claims exclude each other: a worker skips what another batch holds': async (subject) => {
    await registered(subject);
    await appendTo(subject, ...spread);
    await inBatch(subject, async (unit) => {
      const first = shardsOf(await claimIn(subject, unit, { limit: 10 }));
      assert.equal(first.length, 10);
      const others = shardsOfStreams(...spread).filter((shard) => !first.includes(shard));
      assert.deepEqual(shardsOf(await subject.units.outside(() => claim(subject))), others);
      assert.equal(await subject.units.outside(() => claim(subject, { shards: first })), undefined);
    });
    assert.equal(shardsOf(await claim(subject)).length, spread.length);
  },

  'a claim goes on to shards that are free when the first ones it looks at are held': async (subject) => {
    await registered(subject);
    await appendTo(subject, ...spread);
    await inBatch(subject, async (unit) => {
      const held = shardsOfStreams(...spread.slice(0, -2));
      assert.deepEqual(shardsOf(await claimIn(subject, unit, { shards: held })), held);
      for (const _ of upTo(10)) assert.ok(shardsOf(await subject.units.outside(() => claim(subject, { limit: 2 }))).length > 0);
    });
  },

  'an exclusive claim leaves no lagging shard out, though somebody holds its checkpoint for a moment': async (subject) => {
    await registered(subject);
    await appendTo(subject, 's-1', 's-2');
    let claiming: Promise<Claim | undefined> | undefined;
    let isDone = false;
    await inBatch(subject, async (unit) => {
      await claimIn(subject, unit, { shards: [shardOf('', 's-1')], wait: true });
      claiming = subject.units.outside(() => claim(subject, { exclusive: true })).finally(() => (isDone = true));
      await staysSo(subject, () => !isDone);
    });
    assert.deepEqual(shardsOf(await claiming), shardsOfStreams('s-1', 's-2'));
  },

  'one exclusive claim is let through at a time': async (subject) => {
    await registered(subject);
    await appendTo(subject, ...spread);
    await inBatch(subject, async (unit) => {
      assert.ok(await claimIn(subject, unit, { exclusive: true, limit: 1 }));
      assert.equal(await subject.units.outside(() => claim(subject, { exclusive: true })), undefined);
    });
    assert.ok(await claim(subject, { exclusive: true }));
  },

  'an exclusive claim in line comes when the batch before it has ended, and sees what it wrote': async (subject) => {
    await registered(subject);
    await appendTo(subject, 's-1', 's-2');
    let inLine: Promise<Claim | undefined> | undefined;
    let isDone = false;
    await inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit, { exclusive: true }))!;
      inLine = subject.units.outside(() => claim(subject, { exclusive: true, inLine: true })).finally(() => (isDone = true));
      await staysSo(subject, () => !isDone);
      await subject.consumers.advance(unit, found, [{ shard: shardOf('', 's-1'), seq: 1, eventId: 'e1' }]);
    });
    assert.deepEqual(shardsOf(await inLine), shardsOfStreams('s-2'));
  },

  'a claim that waits sees what the other batch wrote': async (subject) => {
    await registered(subject);
    await appendTo(subject, 's-1');
    const shard = shardOf('', 's-1');
    let waiting: Promise<Claim | undefined> | undefined;
    await inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit))!;
      waiting = subject.units.outside(() => claim(subject, { shards: [shard], wait: true }));
      await staysSo(subject, () => true);
      await subject.consumers.advance(unit, found, [{ shard, seq: 1, eventId: 'e1' }]);
    });
    assert.deepEqual((await waiting)?.checkpoints, [{ shard, seq: 1, eventId: 'e1' }]);
  },

  'a new event type counts as registered when the batches that do not know it have ended': async (subject) => {
    await registered(subject);
    await appendTo(subject, 's-1');
    let isRegistered = false;
    let registering: Promise<void> | undefined;
    await inBatch(subject, async (unit) => {
      assert.deepEqual((await claimIn(subject, unit))?.types, registration().types);
      registering = subject.units.outside(() => subject.consumers.register([registration({ types: ['order.moved'] })])).then(() => void (isRegistered = true));
      await staysSo(subject, () => !isRegistered);
    });
    await registering;
    assert.deepEqual((await claim(subject))?.types.toSorted(), [...registration().types, 'order.moved'].toSorted());
  },
};
