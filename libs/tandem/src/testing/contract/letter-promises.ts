import assert from 'node:assert/strict';
import type { NewDeadLetter } from '../../events/dead-letter-store.js';
import { claimIn, CONSUMER, type ConsumersUnderTest, inBatch, registration } from './consumers-under-test.js';
import type { Promises } from './contract-case.js';
import { eventually, hasFields, upTo } from './expectations.js';

const letter = (own: Partial<NewDeadLetter> = {}): NewDeadLetter => ({
  ...{ consumer: CONSUMER, generation: 1, tenant: '', stream: 'order-1', shard: 3, seq: 7, eventId: 'e7', type: 'order.placed' },
  ...{ state: 'retrying', attempts: 1, error: 'Error: no', retryInMs: 0 },
  ...own,
});
/** As a letter that is not replaced is told. */
const told = ({ retryInMs, ...rest }: NewDeadLetter): object => ({ ...rest, due: rest.state === 'retrying' && retryInMs <= 0 });
const byPlace = (letters: readonly object[]): string[] => letters.map((one) => JSON.stringify(Object.entries(one).toSorted())).toSorted();
const sameLetters = (actual: readonly object[], expected: readonly object[]): void => assert.deepEqual(byPlace(actual), byPlace(expected));

async function hold(subject: ConsumersUnderTest, ...letters: NewDeadLetter[]): Promise<void> {
  // What is due is asked of the live generation.
  await subject.consumers.register([registration()]);
  await inBatch(subject, async (unit) => {
    for (const one of letters) await subject.letters.hold(unit, one);
  });
}
const held = (subject: ConsumersUnderTest, shards: readonly number[]) => inBatch(subject, (unit) => subject.letters.held(unit, CONSUMER, 1, shards));
const streamsOf = (letters: readonly { readonly stream: string }[]): string[] => letters.map(({ stream }) => stream);

export const letterPromises: Promises<ConsumersUnderTest> = {
  'a stream is held once: a later failure replaces the first': async (subject) => {
    const again = letter({ seq: 8, eventId: 'e8', attempts: 2, state: 'parked', error: 'Error: still no', type: 'order.moved' });
    await hold(subject, letter(), letter({ stream: 'order-2' }));
    await hold(subject, again);
    sameLetters(await held(subject, [3]), [letter({ stream: 'order-2' }), again].map(told));
  },

  'a stream is held for one consumer, generation and tenant, in its shard, until it is released': async (subject) => {
    const others = [letter({ consumer: 'other' }), letter({ generation: 2 }), letter({ tenant: 'acme' }), letter({ stream: 'order-9', shard: 4 })];
    await hold(subject, letter(), ...others);
    sameLetters(await held(subject, [3]), [letter(), others[2]!].map(told));
    assert.deepEqual(await held(subject, []), []);
    await inBatch(subject, (unit) => subject.letters.release(unit, letter()));
    sameLetters(await subject.letters.list(), others.map(told));
  },

  'a letter that was held or released by a batch is as before when that is rolled back': async (subject) => {
    await hold(subject, letter());
    const failing = inBatch(subject, async (unit) => {
      await subject.letters.hold(unit, letter({ stream: 'order-2' }));
      await subject.letters.release(unit, letter());
      sameLetters(await subject.letters.held(unit, CONSUMER, 1, [3]), [told(letter({ stream: 'order-2' }))]);
      throw new Error('later');
    });
    await assert.rejects(failing, /later/);
    sameLetters(await subject.letters.list(), [told(letter())]);
  },

  'what is retrying is due when its time has come, what is parked is not': async (subject) => {
    const { letters } = subject;
    await hold(subject, letter(), letter({ stream: 'later', retryInMs: 60_000.7 }), letter({ stream: 'parked', state: 'parked' }));
    assert.deepEqual(streamsOf(await letters.list({ due: true })), ['order-1']);
    assert.deepEqual(new Map((await letters.list()).map(({ stream, due }) => [stream, due])), new Map([['order-1', true], ['later', false], ['parked', false]])); // prettier-ignore
    await hold(subject, letter({ stream: 'soon', retryInMs: 300 }));
    await eventually(async () => streamsOf(await letters.list({ due: true })).includes('soon'), 'the letter becomes due');
    await hold(subject, letter({ consumer: 'other', state: 'parked' }));
    assert.deepEqual(await letters.dueConsumers([CONSUMER, 'other', 'third']), [CONSUMER]);
    assert.deepEqual(await letters.dueConsumers(['other']), []);
    assert.deepEqual(await letters.dueConsumers([]), []);
  },

  'letters are listed by consumer, newest last, at most so many': async (subject) => {
    for (const stream of ['b', 'c', 'a']) await hold(subject, letter({ stream }));
    await hold(subject, letter({ consumer: 'other', stream: 'z' }), letter({ stream: 'b', attempts: 2 }));
    assert.deepEqual(streamsOf(await subject.letters.list({ consumer: CONSUMER })), ['b', 'c', 'a']);
    assert.deepEqual(streamsOf(await subject.letters.list({ consumers: ['other', 'third'] })), ['z']);
    assert.deepEqual(streamsOf(await subject.letters.list({ limit: 2 })), ['b', 'c']);
  },

  'an error of any length and characters is taken': async (subject) => {
    await hold(subject, letter({ error: `\0 \u{1F600} ' ${'x'.repeat(5_000)}` }));
    const [found] = await subject.letters.list();
    assert.match(found!.error, /\u{1F600} ' xxx/u);
  },

  'letters are made due at once, parked ones too, with their attempts counted anew': async (subject) => {
    const { letters } = subject;
    await hold(subject, letter({ state: 'parked', attempts: 5 }), letter({ stream: 'order-2', retryInMs: 60_000, attempts: 3 }), letter({ consumer: 'other', state: 'parked' }));
    assert.equal(await letters.retryNow({ consumer: CONSUMER, stream: 'order-1' }), 1);
    assert.deepEqual((await letters.list({ due: true })).map(({ stream, attempts }) => [stream, attempts]), [['order-1', 0]]); // prettier-ignore
    assert.equal(await letters.retryNow({ consumer: CONSUMER }), 2);
    assert.equal((await letters.list({ consumer: CONSUMER, due: true })).length, 2);
    assert.equal(await letters.retryNow({ consumer: CONSUMER, tenant: 'nobody' }), 0);
    hasFields((await letters.list({ consumer: 'other' }))[0], { state: 'parked', due: false });
  },

  'letters of a stream are marked as discarded, with the reason, and due': async (subject) => {
    const { letters } = subject;
    await hold(subject, letter({ state: 'parked', attempts: 5 }), letter({ stream: 'order-2', state: 'parked' }), letter({ tenant: 'acme', state: 'parked' }));
    assert.equal(await letters.discard({ consumer: CONSUMER, tenant: '', stream: 'order-1' }, 'a test order'), 1);
    const due = await letters.list({ due: true });
    assert.deepEqual(streamsOf(due), ['order-1']);
    hasFields(due[0], { state: 'discarded', tenant: '', due: true });
    assert.match(due[0]!.error, /a test order/);
    assert.deepEqual(await letters.dueConsumers([CONSUMER]), [CONSUMER]);
  },
};

export const overlappingLetterPromises: Promises<ConsumersUnderTest> = {
  'a retry waits for the batch that has the shard, so that neither undoes the other': async (subject) => {
    const { consumers, letters, units } = subject;
    await consumers.register([registration()]);
    await hold(subject, letter({ state: 'parked', attempts: 5 }));
    let retrying: Promise<number> | undefined;
    let isDone = false;
    await inBatch(subject, async (unit) => {
      await claimIn(subject, unit, { wait: true, shards: [3] });
      retrying = units.outside(() => letters.retryNow({ consumer: CONSUMER })).finally(() => (isDone = true));
      for (const _ of upTo(20)) await units.outside(() => letters.list());
      assert.ok(!isDone);
      await letters.hold(unit, letter({ state: 'parked', attempts: 6 }));
    });
    assert.equal(await retrying, 1);
    hasFields((await letters.list())[0], { state: 'retrying', attempts: 0, due: true });
  },
};
