import assert from 'node:assert/strict';
import { shardOf } from '../../events/event-log.js';
import { ConsumerEngine } from './consumer-engine.js';
import { appendTo, claimIn, CONSUMER, type ConsumersUnderTest, inBatch, statusOf } from './consumers-under-test.js';
import type { Promises } from './contract-case.js';
import { append, pending } from './event-log-under-test.js';
import { hasFields, together, upTo } from './expectations.js';

const isOf = (stream: string) => (effect: string) => effect.startsWith(`${stream}/`);
const inVersionOrder = (stream: string, count: number): string[] => upTo(count).map((version) => `${stream}/${version}`);

/** Every event of these streams had its effect once, in version order. */
async function wereApplied(engine: ConsumerEngine, counts: ReadonlyMap<string, number>): Promise<void> {
  for (const [stream, count] of counts) assert.deepEqual(engine.applied.filter(isOf(stream)), inVersionOrder(stream, count));
  assert.deepEqual(await engine.effects(), engine.applied.toSorted());
  assert.equal(engine.applied.length, [...counts.values()].reduce((sum, count) => sum + count, 0)); // prettier-ignore
}

async function started(subject: ConsumersUnderTest, options?: ConstructorParameters<typeof ConsumerEngine>[1]): Promise<ConsumerEngine> {
  const engine = new ConsumerEngine(subject, options);
  await engine.register();
  return engine;
}

export const batchPromises: Promises<ConsumersUnderTest> = {
  'batches give each event its effect once, in version order, and pass over what is of another type': async (subject) => {
    const engine = await started(subject);
    const streams = upTo(60).map((i) => `b-${i % 7}`);
    await append(subject, ...streams.map((stream) => pending(stream)), pending('b-other', 'any', { type: 'contract.other' }));
    await engine.workOff();
    await wereApplied(engine, new Map(streams.map((stream) => [stream, streams.filter((other) => other === stream).length])));
    hasFields(await engine.runBatch(), { handled: 0, more: false });
  },

  'batches keep to their budgets of events and bytes, and read on where the last one ended': async (subject) => {
    const payload = JSON.stringify({ n: 1, text: 'x'.repeat(980) });
    const budgets = [
      { settings: { batchSize: 4 }, most: 4, stream: 'events' },
      { settings: { batchBytes: 3_100 }, most: 3, stream: 'bytes' },
    ];
    for (const { settings, most, stream } of budgets) {
      const engine = await started(subject, { settings });
      await append(subject, ...upTo(20).map((i) => pending(`${stream}-${i % 2}`, 'any', { payload })));
      const sizes: number[] = [];
      for (let more = true; more;) {
        const result = await engine.runBatch();
        sizes.push(result!.handled);
        more = result!.more;
      }
      assert.deepEqual([Math.max(...sizes), sizes.reduce((sum, size) => sum + size, 0)], [most, 20]);
      for (const i of [0, 1]) assert.deepEqual(engine.applied.filter(isOf(`${stream}-${i}`)), inVersionOrder(`${stream}-${i}`, 10));
    }
  },

  'a consumer that starts from now sees only what comes': async (subject) => {
    await appendTo(subject, 'b-1', 'b-2');
    const engine = await started(subject, { startFrom: 'now' });
    await engine.workOff();
    assert.deepEqual(engine.applied, []);
    await appendTo(subject, 'b-1');
    await engine.workOff();
    assert.deepEqual(await engine.effects(), ['b-1/2']);
  },
};

export const failurePromises: Promises<ConsumersUnderTest> = {
  'a failed event holds back its own stream, whether the failure names it or not': async (subject) => {
    const engine = await started(subject);
    await appendTo(subject, ...upTo(9).map((i) => `f-${i % 3}`));
    engine.faults.set('f-1/2', 'named').set('f-2/1', 'unnamed');
    await engine.workOff();
    await wereApplied(engine, new Map([['f-0', 3], ['f-1', 1], ['f-2', 0]])); // prettier-ignore
    const letters = await subject.letters.list({ consumer: CONSUMER });
    const places = new Map(letters.map(({ stream, state, attempts, due }) => [stream, [state, attempts, due]]));
    assert.deepEqual(places.get('f-1'), ['retrying', 1, true]);
    assert.deepEqual(places.get('f-2'), ['retrying', 1, true]);
    await appendTo(subject, 'f-0', 'f-1');
    await engine.workOff();
    await wereApplied(engine, new Map([['f-0', 4], ['f-1', 1], ['f-2', 0]])); // prettier-ignore
  },

  'an error of the database in a handler undoes its own event only': async (subject) => {
    const engine = await started(subject);
    await appendTo(subject, 'f-0', 'f-1', 'f-2', 'f-1');
    engine.faults.set('f-1/1', 'statement');
    await engine.workOff();
    await wereApplied(engine, new Map([['f-0', 1], ['f-1', 0], ['f-2', 1]])); // prettier-ignore
    assert.deepEqual((await subject.letters.list()).map(({ stream }) => stream), ['f-1']); // prettier-ignore
  },

  'a held stream that is retried goes on in order and is free again, and is parked after its last attempt': async (subject) => {
    const engine = await started(subject);
    await appendTo(subject, 'f-1', 'f-1', 'f-1');
    engine.faults.set('f-1/2', 'named');
    await engine.workOff();
    const due = async () => (await subject.letters.list({ consumer: CONSUMER, due: true }))[0]!;
    assert.equal(await engine.retry(await due()), false);
    assert.equal(await due(), undefined);
    hasFields((await subject.letters.list())[0], { state: 'parked', attempts: 2, due: false });

    engine.faults.clear();
    assert.equal(await subject.letters.retryNow({ consumer: CONSUMER }), 1);
    assert.equal(await engine.retry(await due()), true);
    await appendTo(subject, 'f-1');
    await engine.workOff();
    await wereApplied(engine, new Map([['f-1', 4]]));
    assert.deepEqual(await subject.letters.list(), []);
  },

  'a discarded event is passed over, and its stream goes on behind it': async (subject) => {
    const engine = await started(subject);
    await appendTo(subject, 'f-1', 'f-1', 'f-1');
    engine.faults.set('f-1/2', 'named');
    await engine.workOff();
    assert.equal(await subject.letters.discard({ consumer: CONSUMER, stream: 'f-1' }, 'a test'), 1);
    assert.equal(await engine.retry((await subject.letters.list({ due: true }))[0]!), true);
    assert.deepEqual(await engine.effects(), ['f-1/1', 'f-1/3']);
    assert.deepEqual(await subject.letters.list(), []);
  },

  'a consumer that halts stays before its failed event, and goes on from there': async (subject) => {
    const engine = await started(subject, { onError: 'halt', settings: { consumerAttempts: 1 } });
    await appendTo(subject, 'f-1');
    await appendTo(subject, 'f-2');
    await appendTo(subject, 'f-3');
    engine.faults.set('f-2/1', 'named');
    await engine.workOff();
    assert.deepEqual(engine.applied, ['f-1/1']);
    hasFields(await statusOf(subject), { state: 'halted', lag: 2 });

    engine.faults.clear();
    await subject.letters.retryNow({ consumer: CONSUMER });
    await subject.consumers.setState(CONSUMER, 'running', null);
    await engine.workOff();
    assert.deepEqual(engine.applied, ['f-1/1', 'f-2/1', 'f-3/1']);
    assert.deepEqual(await subject.letters.list(), []);
  },

  'a checkpoint that is not of this log halts the consumer': async (subject) => {
    const engine = await started(subject);
    await appendTo(subject, 'f-1', 'f-1');
    await inBatch(subject, async (unit) => {
      const claim = await claimIn(subject, unit);
      await subject.consumers.advance(unit, claim!, [{ shard: shardOf('', 'f-1'), seq: 1, eventId: 'of-another-log' }]);
    });
    assert.match((await engine.runBatch())!.stopped!, /log went back/);
    assert.deepEqual(engine.applied, []);
    hasFields(await statusOf(subject), { state: 'halted', lag: 1 });
  },
};

export const manyWorkersPromises: Promises<ConsumersUnderTest> = {
  'many workers that are killed at any moment give each event its effect once, in version order': async (subject) => {
    const engine = await started(subject, { parallelism: 4, settings: { batchSize: 20 }, crashes: () => Math.random() < 0.25 });
    const streams = upTo(12).map((i) => `w-${i}`);
    let isWriting = true;
    const writing = together(
      upTo(4).map(async () => {
        for (const _ of upTo(10)) await appendTo(subject, ...streams);
      }),
    ).finally(() => (isWriting = false));
    await together<[unknown, void]>([writing, engine.workOff(4, () => isWriting)]);
    await wereApplied(engine, new Map(streams.map((stream) => [stream, 40])));
    assert.deepEqual(await subject.letters.list(), []);
  },

  'a consumer that runs unpartitioned sees cause before effect, across streams, while they are written': async (subject) => {
    const engine = await started(subject, { settings: { batchSize: 10 } });
    const chain: string[] = [];
    let isWriting = true;
    const write = async (): Promise<void> => {
      for (const i of upTo(80)) {
        for (const { stream, version } of await appendTo(subject, `c-${(i * 7) % 11}`)) chain.push(`${stream}/${version}`);
      }
    };
    const writing = write().finally(() => (isWriting = false));
    await together<[unknown, void]>([writing, engine.workOff(2, () => isWriting)]);
    assert.deepEqual(engine.applied, chain);
  },
};
