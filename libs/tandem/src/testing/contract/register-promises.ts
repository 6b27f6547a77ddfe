import assert from 'node:assert/strict';
import { SHARDS, shardOf } from '../../events/event-log.js';
import { appendTo, claim, claimIn, CONSUMER, type ConsumersUnderTest, everyShard, inBatch, positions, registration, shardsOfStreams, statusOf } from './consumers-under-test.js';
import type { Promises } from './contract-case.js';
import { hasFields, refusesWith, together, upTo } from './expectations.js';

export const registerPromises: Promises<ConsumersUnderTest> = {
  'a new consumer has a checkpoint in each shard, at the beginning': async (subject) => {
    await appendTo(subject, 's-1', 's-2');
    await subject.consumers.register([registration()]);
    assert.deepEqual(await positions(subject), new Map(everyShard.map((shard) => [shard, 0])));
    const [status] = await subject.consumers.status();
    assert.deepEqual(status, {
      ...{ consumer: CONSUMER, kind: 'projection', state: 'running', reason: null, lastRunAt: null, readAt: status!.readAt },
      ...{ generation: 1, lag: 2, laggingShards: shardsOfStreams('s-1', 's-2') },
    });
  },

  'the slot of a run is noted with its batch, and never goes back': async (subject) => {
    const { consumers, units } = subject;
    await consumers.register([registration()]);
    const note = (text: string) => inBatch(subject, (unit) => consumers.noteRun(unit, CONSUMER, new Date(text).getTime() * 1_000));
    await note('2026-03-01T10:00:00.000Z');
    await note('2026-03-01T09:00:00.000Z');
    await units
      .run(
        async (unit) => {
          await consumers.noteRun(unit, CONSUMER, new Date('2026-03-01T11:00:00.000Z').getTime() * 1_000);
          throw new Error('this batch is rolled back');
        },
        { kind: 'consumer', tries: 1 },
      )
      .catch(() => undefined);
    const { lastRunAt, readAt } = (await statusOf(subject))!;
    assert.deepEqual(lastRunAt, new Date('2026-03-01T10:00:00.000Z'));
    assert.ok(Math.abs(readAt.getTime() - Date.now()) < 60_000);
  },

  'a new consumer that starts from now has its checkpoints at the heads, with the event there': async (subject) => {
    const [, second] = await appendTo(subject, 's-1', 's-1');
    await subject.consumers.register([registration({ startFrom: 'now' })]);
    const shard = shardOf('', 's-1');
    assert.deepEqual((await claim(subject, { shards: [shard] }))?.checkpoints, [{ shard, seq: 2, eventId: second!.eventId }]);
    hasFields(await statusOf(subject), { lag: 0, laggingShards: [] });
  },

  'registering is idempotent: types are the union of all versions of the code, checkpoints stay': async (subject) => {
    const { consumers } = subject;
    await consumers.register([registration({ types: ['order.placed'] })]);
    await inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit, { shards: [7] }))!;
      assert.deepEqual(found.types, ['order.placed']);
      await consumers.advance(unit, found, [{ shard: 7, seq: 5, eventId: 'e5' }]);
    });
    await consumers.register([registration({ types: ['order.cancelled'], version: 2, startFrom: 'now' })]);
    await consumers.register([registration({ types: ['order.placed'] })]);
    hasFields(await claim(subject, { shards: [7] }), { types: ['order.cancelled', 'order.placed'], checkpoints: [{ shard: 7, seq: 5, eventId: 'e5' }] });
    assert.deepEqual(
      (await consumers.registered()).map(({ name, kind, types }) => ({ name, kind, types })),
      [{ name: CONSUMER, kind: 'projection', types: ['order.cancelled', 'order.placed'] }],
    );
  },

  'a retired type leaves the union': async (subject) => {
    await subject.consumers.register([registration({ types: ['order.placed', 'order.moved'] })]);
    await subject.consumers.register([registration({ types: ['order.placed'], retiredTypes: ['order.moved'] })]);
    assert.deepEqual((await claim(subject, { shards: [1] }))?.types, ['order.placed']);
  },

  'a consumer that was renamed goes on where it stands, with what it holds back; code with the old name is refused': async (subject) => {
    const { consumers, letters } = subject;
    await consumers.register([registration({ types: ['order.placed'] })]);
    await inBatch(subject, async (unit) => {
      const found = (await claimIn(subject, unit, { shards: [7] }))!;
      await consumers.advance(unit, found, [{ shard: 7, seq: 5, eventId: 'e5' }]);
      const place = { consumer: CONSUMER, generation: 1, tenant: '', stream: 'order-1', shard: 3, seq: 7, eventId: 'e7', type: 'order.placed' };
      await letters.hold(unit, { ...place, state: 'parked', attempts: 5, error: 'Error: no', retryInMs: 0 });
    });
    const renamed = registration({ name: 'renamed', renamedFrom: CONSUMER, types: ['order.moved'], startFrom: 'now' });
    for (let start = 0; start < 2; start++) await consumers.register([renamed]);
    assert.equal((await consumers.positions(['renamed'], [7])).get('renamed')?.get(7), 5);
    assert.deepEqual(
      (await consumers.registered()).map(({ name, types }) => ({ name, types })),
      [{ name: 'renamed', types: ['order.moved', 'order.placed'] }],
    );
    assert.deepEqual(
      (await consumers.status()).map(({ consumer }) => consumer),
      ['renamed'],
    );
    assert.deepEqual(
      (await letters.list()).map(({ consumer, stream }) => ({ consumer, stream })),
      [{ consumer: 'renamed', stream: 'order-1' }],
    );
    await refusesWith('TANDEM_WIRING', () => consumers.register([registration()]));
    assert.equal((await claim(subject, { consumer: CONSUMER, shards: [7] }))?.checkpoints.length ?? 0, 0);
  },

  'a new consumer may say what it was renamed from, where nothing is registered under that name': async (subject) => {
    await subject.consumers.register([registration({ renamedFrom: 'never-was' })]);
    assert.deepEqual(await positions(subject), new Map(everyShard.map((shard) => [shard, 0])));
  },

  'a renaming is refused while both names are registered, and for another kind': async (subject) => {
    await subject.consumers.register([registration(), registration({ name: 'other', kind: 'saga' })]);
    await refusesWith('TANDEM_WIRING', () => subject.consumers.register([registration({ renamedFrom: 'other', kind: 'saga' })]));
    await refusesWith('TANDEM_WIRING', () => subject.consumers.register([registration({ name: 'third', renamedFrom: 'other', kind: 'projection' })]));
  },

  'a name of another kind is refused': async (subject) => {
    await subject.consumers.register([registration()]);
    await refusesWith('TANDEM_WIRING', () => subject.consumers.register([registration({ kind: 'saga' })]));
  },

  'processes may register at once, while others write': async (subject) => {
    const { consumers } = subject;
    const all = upTo(6).map((i) => registration({ name: `c-${i}`, startFrom: i % 2 ? 'now' : 'beginning' }));
    const start = (process: number): Promise<void> => consumers.register(all.map((one) => ({ ...one, types: [`type-${process}`] })).sort(() => Math.random() - 0.5));
    await together<unknown[]>([start(1), start(2), start(3), ...upTo(20).map((i) => appendTo(subject, `w-${i % 7}`))]);
    assert.deepEqual(
      (await consumers.status()).map(({ consumer }) => consumer),
      all.map(({ name }) => name),
    );
    for (const { name } of all) {
      const found = await claim(subject, { consumer: name, shards: everyShard });
      assert.deepEqual(found?.types, ['type-1', 'type-2', 'type-3']);
      assert.equal(found.checkpoints.length, SHARDS);
    }
    await appendTo(subject, 'w-1');
    for (const { lag } of await consumers.status()) assert.ok(lag > 0);
  },

  'a state is told with its reason, to a claim too, and goes with its unit': async (subject) => {
    const { consumers } = subject;
    await consumers.register([registration()]);
    await consumers.setState(CONSUMER, 'halted', 'out of order');
    hasFields(await statusOf(subject), { state: 'halted', reason: 'out of order' });
    hasFields(await claim(subject, { shards: [1] }), { state: 'halted' });
    await consumers.setState(CONSUMER, 'halted', 'out of order, and long'.padEnd(5_000, '.'));
    assert.match((await statusOf(subject))!.reason!, /^out of order, and long/);
    const failing = inBatch(subject, async (unit) => {
      await consumers.setState(CONSUMER, 'paused', null, unit);
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    hasFields(await statusOf(subject), { state: 'halted' });
    await inBatch(subject, (unit) => consumers.setState(CONSUMER, 'running', null, unit));
    hasFields(await statusOf(subject), { state: 'running', reason: null });
    await refusesWith('TANDEM_WIRING', () => consumers.setState('nobody', 'paused', null));
  },

  'positions are told of several consumers, in a snapshot too': async (subject) => {
    const { consumers, units } = subject;
    await consumers.register([registration(), registration({ name: 'other' })]);
    await appendTo(subject, 's-1');
    const shard = shardOf('', 's-1');
    await inBatch(subject, async (unit) => consumers.advance(unit, (await claimIn(subject, unit))!, [{ shard, seq: 1, eventId: 'e' }]));
    const found = await units.run((unit) => consumers.positions([CONSUMER, 'other', 'nobody'], [shard], unit), { kind: 'snapshot' });
    assert.deepEqual(
      [CONSUMER, 'other', 'nobody'].map((name) => found.get(name)?.get(shard)),
      [1, 0, undefined],
    );
    assert.equal((await consumers.positions([], [1])).size, 0);
  },
};
