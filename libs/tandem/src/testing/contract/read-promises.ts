import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { shardOf, SHARDS, type StoredEvent } from '../../events/event-log.js';
import type { Promises } from './contract-case.js';
import { allKeys, append, EVENT_TYPE, type EventLogUnderTest, pending, reading, versionsOf } from './event-log-under-test.js';
import { upTo } from './expectations.js';

export const readPromises: Promises<EventLogUnderTest> = {
  'what waits is counted for several askers at once: of their own types, of any, since when; no further than they ask': async (subject) => {
    const [first, other, last] = await append(subject, pending('c-1'), pending('c-1', 'any', { type: 'contract.other' }), pending('c-1'));
    const { shard } = first!;
    const ask = (after: number, types: readonly string[], upTo = 10) => ({ after: new Map([[shard, after], [(shard + 1) % SHARDS, 0]]), types, upTo }); // prettier-ignore
    const { nowMicros, waiting } = await subject.log.count([ask(0, [EVENT_TYPE]), ask(1, [EVENT_TYPE, 'contract.other']), ask(2, ['contract.other']), ask(0, [EVENT_TYPE], 1)]);
    assert.deepEqual(waiting, [
      { own: 2, any: 3, oldestMicros: first!.recordedAtMicros },
      { own: 2, any: 2, oldestMicros: other!.recordedAtMicros },
      { own: 0, any: 1, oldestMicros: undefined },
      { own: 1, any: 1, oldestMicros: first!.recordedAtMicros },
    ]);
    assert.ok(nowMicros >= last!.recordedAtMicros);
  },

  'events are read as they were written, in the order of the keys': async (subject) => {
    const stored = await append(subject, pending('a-1', 'any', { payload: '{"a":1.10}', metadata: '{"actor":"ü"}' }), pending('a-1'), pending('b-1'));
    const keys = await allKeys(subject);
    const events = await reading(subject, (unit) => subject.log.readEvents(unit, keys.toReversed()));
    assert.deepEqual(
      events.map(({ eventId }) => eventId),
      keys.toReversed().map(({ eventId }) => eventId),
    );
    for (const event of events) assert.deepEqual(event, stored.find(({ eventId }) => eventId === event.eventId)); // prettier-ignore
  },

  'the time of an event is the clock of the database, never after the cut of a later read': async (subject) => {
    const before = await subject.log.heads();
    const stored: StoredEvent[] = [];
    for (const _ of upTo(5)) stored.push(...(await append(subject, pending('clock-1'))));
    const { cutMicros } = await subject.log.heads();
    const times = [before.cutMicros, ...stored.map(({ recordedAtMicros }) => recordedAtMicros), cutMicros];
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.ok(Math.abs(cutMicros / 1_000 - Date.now()) < 60_000, 'the cut is in microseconds since 1970 in UTC');
  },

  'the clock moves on inside a transaction': async (subject) => {
    const [before, after] = await reading(subject, async (unit) => {
      const first = await subject.log.heads(unit);
      await sleep(5);
      return [first, await subject.log.heads(unit)];
    });
    assert.ok(after.cutMicros > before.cutMicros);
  },

  'heads are those of shards with events, and only of the shards asked for': async (subject) => {
    const { log } = subject;
    assert.equal((await log.heads()).heads.size, 0);
    await append(subject, pending('a-1'), pending('b-2'), pending('b-2'));
    const [a, b] = [shardOf('', 'a-1'), shardOf('', 'b-2')];
    assert.notEqual(a, b);
    const expected = new Map([[a, 1], [b, 2]]); // prettier-ignore
    assert.deepEqual(new Map([...(await log.heads()).heads].toSorted(([x], [y]) => x - y)), new Map([...expected].toSorted(([x], [y]) => x - y)));
    assert.deepEqual((await log.heads(undefined, [b])).heads, new Map([[b, 2]]));
    assert.equal((await log.heads(undefined, [])).heads.size, 0);
  },

  'keys of several shards are read between two numbers of each, in order': async (subject) => {
    await append(subject, ...upTo(10).map(() => pending('k-1')), pending('k-2'), pending('k-2'));
    const [one, two] = [shardOf('', 'k-1'), shardOf('', 'k-2')];
    const ranges = [
      { shard: one, after: 7, upTo: 9 },
      { shard: two, after: 0, upTo: 1 },
    ];
    const keys = await reading(subject, (unit) => subject.log.readKeys(unit, ranges));
    assert.deepEqual(keys.filter(({ shard }) => shard === one).map(({ seq }) => seq), [8, 9]); // prettier-ignore
    assert.deepEqual(keys.filter(({ shard }) => shard === two).map(({ seq }) => seq), [1]); // prettier-ignore
    assert.equal(keys.length, 3);
    assert.deepEqual(await reading(subject, (unit) => subject.log.readKeys(unit, [])), []);
  },

  'keys bring small texts of the types asked for along, and nothing else': async (subject) => {
    const big = JSON.stringify({ text: 'ü'.repeat(60) });
    await append(subject, pending('k-1'), pending('k-1', 'any', { payload: big }), pending('k-1', 'any', { type: 'contract.other' }));
    const ranges = [{ shard: shardOf('', 'k-1'), after: 0, upTo: 3 }];
    const plain = await reading(subject, (unit) => subject.log.readKeys(unit, ranges));
    assert.ok(plain.every(({ payload }) => payload === undefined));
    const keys = await reading(subject, (unit) => subject.log.readKeys(unit, ranges, { types: [EVENT_TYPE, 'contract.none'], maxBytes: 100 }));
    assert.deepEqual(keys.map(({ payload, metadata }) => [payload, metadata]), [['{"n":1}', '{}'], [undefined, undefined], [undefined, undefined]]); // prettier-ignore
    const events = await reading(subject, (unit) => subject.log.readEvents(unit, keys));
    assert.deepEqual(events, await reading(subject, (unit) => subject.log.readEvents(unit, plain)));
    assert.equal(events[1]!.payload, big);
  },

  'keys of one stream are read from an event on to a number of its shard': async (subject) => {
    await append(subject, ...['one-1', 'one-1', 'one-2', 'one-1', 'one-1', 'one-1'].map((stream) => pending(stream)));
    const [, second, third, fourth] = await subject.log.readStream('', 'one-1');
    const of = { tenant: '', stream: 'one-1', from: { shard: second!.shard, seq: second!.seq }, upTo: fourth!.seq };
    const keys = await reading(subject, (unit) => subject.log.readStreamKeys(unit, of));
    assert.deepEqual(
      keys.map(({ eventId, version }) => [eventId, version]),
      [second, third, fourth].map((event) => [event!.eventId, event!.version]),
    );
    assert.deepEqual(await reading(subject, (unit) => subject.log.readStreamKeys(unit, { ...of, stream: 'one-3' })), []);
  },

  'the events of many streams at some of their versions are told, and what is not there is left out': async (subject) => {
    const stored = await append(subject, ...['at-1', 'at-1', 'at-1', 'at-2'].map((stream) => pending(stream)), pending('at-1', 'any', { tenant: 'Acme' }));
    const others = upTo(600).map((i) => ({ tenant: '', stream: `at-none-${i}`, versions: [1, 2] }));
    const asked = [{ tenant: '', stream: 'at-1', versions: [1, 3, 4] }, ...others, { tenant: '', stream: 'at-2', versions: [1, 2] }];
    const found = await reading(subject, (unit) => subject.log.eventsAt(unit, asked));
    assert.deepEqual(
      found.map(({ eventId, tenant, stream, version }) => [stream, version, tenant, eventId]).toSorted(),
      [stored[0]!, stored[2]!, stored[3]!].map(({ eventId, tenant, stream, version }) => [stream, version, tenant, eventId]),
    );
    assert.deepEqual(await reading(subject, (unit) => subject.log.eventsAt(unit, [])), []);
  },

  'a stream is read forwards, backwards, from a version and so many events': async (subject) => {
    await append(subject, ...upTo(5).map(() => pending('way-1')), pending('way-2'));
    const read = async (...args: Parameters<EventLogUnderTest['log']['readStream']>) => versionsOf(await subject.log.readStream(...args));
    assert.deepEqual(await read('', 'way-1'), [1, 2, 3, 4, 5]);
    assert.deepEqual(await read('', 'way-1', { fromVersion: 4 }), [4, 5]);
    assert.deepEqual(await read('', 'way-1', { fromVersion: 2, limit: 3 }), [2, 3, 4]);
    assert.deepEqual(await read('', 'way-1', { fromVersion: 6 }), []);
    assert.deepEqual(await read('', 'way-1', { backwards: true }), [5, 4, 3, 2, 1]);
    assert.deepEqual(await read('', 'way-1', { backwards: true, limit: 1 }), [5]);
    assert.deepEqual(await read('', 'way-1', { backwards: true, fromVersion: 3 }), [3, 2, 1]);
    assert.deepEqual(await read('', 'way-1', { backwards: true, fromVersion: 9, limit: 2 }), [5, 4]);
    assert.deepEqual(await read('', 'way-1', { limit: 0 }), []);
    for (const backwards of [false, true]) assert.deepEqual(await read('', 'way-3', { backwards }), []);
  },

  'a stream of any length is read to its end, inside a unit with what that unit has appended': async (subject) => {
    const { log, units } = subject;
    await append(subject, ...upTo(1_100).map(() => pending('long-1')));
    const [forwards, backwards] = await units.run(async (unit) => {
      await log.append(unit, [pending('long-1')]);
      return [await log.readStream('', 'long-1'), await log.readStream('', 'long-1', { backwards: true, limit: 1_001 })];
    });
    assert.deepEqual(versionsOf(forwards!), upTo(1_101));
    assert.deepEqual(backwards, forwards!.slice(100).toReversed());
  },

  'closing a hole where there is none changes nothing': async (subject) => {
    const [stored] = await append(subject, pending('whole-1'), pending('whole-1'));
    assert.equal(await subject.log.closeHole({ shard: stored!.shard, seq: 1 }), 0);
    assert.deepEqual(versionsOf(await allKeys(subject)), [1, 2]);
  },
};
