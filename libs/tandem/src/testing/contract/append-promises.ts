import assert from 'node:assert/strict';
import { shardOf, type ExpectedVersion } from '../../events/event-log.js';
import type { Promises } from './contract-case.js';
import { allKeys, append, type EventLogUnderTest, pending, versionsOf } from './event-log-under-test.js';
import { hasFields, refusesWith, rejection, upTo } from './expectations.js';

const CONFLICT = 'TANDEM_CONCURRENCY_CONFLICT';

export const appendPromises: Promises<EventLogUnderTest> = {
  'append numbers shards and streams from 1, and says what it stored': async (subject) => {
    const payload = '{"big":9007199254740993,"text":"ü \u{1F600} \\u0000 \'quoted\' \\"x\\" ?","a":1.10}';
    const [first, second] = await append(subject, pending('order-1', 'none', { payload, tenant: 'Acme' }), pending('order-1', 'none', { tenant: 'Acme' }));
    const shard = shardOf('Acme', 'order-1');
    hasFields(first, { shard, seq: 1, version: 1, payload, payloadBytes: Buffer.byteLength(payload) });
    hasFields(second, { shard, seq: 2, version: 2 });
    assert.deepEqual(await subject.log.readStream('Acme', 'order-1'), [first, second]);
    assert.deepEqual(await append(subject), []);
  },

  'append continues at any version, at the one named and from none': async (subject) => {
    await append(subject, pending('s-1', 'none'));
    await append(subject, pending('s-1', 1), pending('s-1', 2));
    const last = await append(subject, pending('s-1', 'any'), pending('s-2', 0), pending('s-1', 'any'));
    assert.deepEqual(
      last.map(({ stream, version }) => [stream, version]),
      [
        ['s-1', 4],
        ['s-2', 1],
        ['s-1', 5],
      ],
    );
  },

  'append refuses another version than the expected one, and leaves no trace': async (subject) => {
    await append(subject, pending('conflict-1', 'none'));
    const refused: readonly (readonly [ExpectedVersion, RegExp])[] = [
      ['none', /conflict-1 exists already/],
      [0, /conflict-1 is at version 1, you expected 0/],
      [5, /conflict-1 is at version 1, you expected 5/],
    ];
    for (const [expected, message] of refused) {
      const error = await rejection(() => append(subject, pending('other-1'), pending('conflict-1', expected)));
      hasFields(error as { code: string }, { code: CONFLICT });
      assert.match(String(error), message);
    }
    assert.deepEqual(await subject.log.readStream('', 'other-1'), []);
    const [next] = await append(subject, pending('conflict-1', 1));
    hasFields(next, { seq: 2, version: 2 });
  },

  'append refuses a second change of one unit that was decided on an older version': async (subject) => {
    await append(subject, pending('s-9', 'none'), pending('s-9', 'none'));
    await refusesWith(CONFLICT, () => append(subject, pending('s-9', 2), pending('s-9', 1)));
  },

  'append lets exactly one of many that expect the same version through': async (subject) => {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => append(subject, pending('race-1', 'none'))));
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as { code: string }] : []));
    assert.equal(refused.length, 7);
    for (const error of refused) hasFields(error, { code: CONFLICT });
    assert.equal((await subject.log.readStream('', 'race-1')).length, 1);
  },

  'append keeps tenants apart: their streams of one name have versions of their own': async (subject) => {
    await append(subject, pending('t-1', 'none'), pending('t-1', 'none', { tenant: 'Acme' }), pending('t-1', 'none', { tenant: 'acme' }));
    await append(subject, pending('t-1', 1, { tenant: 'acme' }));
    for (const [tenant, versions] of [
      ['', [1]],
      ['Acme', [1]],
      ['acme', [1, 2]],
      ['other', []],
    ] as const) {
      // prettier-ignore
      const events = await subject.log.readStream(tenant, 't-1');
      assert.deepEqual(versionsOf(events), versions);
      assert.ok(events.every((event) => event.tenant === tenant && event.shard === shardOf(tenant, 't-1')));
    }
  },

  'append takes several streams and shards in one unit, and all or none of them are stored': async (subject) => {
    const streams = upTo(100).map((i) => `several-${i}`);
    await append(subject, ...streams.map((stream) => pending(stream)));
    assert.equal((await subject.log.heads()).heads.size, new Set(streams.map((stream) => shardOf('', stream))).size);
    await refusesWith(CONFLICT, () => append(subject, ...streams.map((stream, i) => pending(stream, i === 57 ? 'none' : 1))));
    assert.equal((await allKeys(subject)).length, streams.length);
  },

  'append stores 10,000 events of one unit, large ones among them, whatever fits one statement': async (subject) => {
    const payload = JSON.stringify({ text: 'x'.repeat(200_000) });
    const small = upTo(9_960).map((i) => pending(`many-${i % 700}`));
    const large = upTo(40).map(() => pending('large-1', 'any', { payload }));
    const stored = await append(subject, ...small, ...large);
    const keys = await allKeys(subject);
    const placeOf = ({ shard, seq, eventId }: (typeof keys)[number]): string => `${shard}/${seq} ${eventId}`;
    assert.deepEqual(keys.map(placeOf).toSorted(), stored.map(placeOf).toSorted());
    const events = await subject.log.readStream('', 'large-1');
    assert.deepEqual(versionsOf(events), upTo(40));
    assert.ok(events.every((event) => event.payload === payload && event.payloadBytes === payload.length));
  },

  'nothing is seen of a unit that is rolled back, nor does it take numbers': async (subject) => {
    const { log, units } = subject;
    await append(subject, pending('undone-1'));
    const undone = units.run(async (unit) => {
      await log.append(unit, [pending('undone-1'), pending('undone-2')]);
      throw new Error('changed my mind');
    });
    await assert.rejects(undone, /changed my mind/);
    assert.deepEqual((await log.heads()).heads, new Map([[shardOf('', 'undone-1'), 1]]));
    assert.deepEqual(await log.readStream('', 'undone-2'), []);
    hasFields((await append(subject, pending('undone-1', 1)))[0], { seq: 2, version: 2 });
  },

  'appendLast stores with the unit that it may commit, and says where': async (subject) => {
    const { log, units } = subject;
    const told = await units.run((unit) => log.appendLast(unit, [pending('last-1', 'none'), pending('last-1', 1), pending('last-2')]));
    const keys = await allKeys(subject);
    assert.deepEqual(keys.map(({ stream, version }) => `${stream}/${version}`).toSorted(), ['last-1/1', 'last-1/2', 'last-2/1']);
    for (const { eventId, tenant, stream, type, shard, seq } of told) {
      hasFields(
        keys.find((key) => key.eventId === eventId),
        { tenant, stream, type, shard, seq },
      );
    }
  },

  'appendLast stores nothing where a stream is at another version': async (subject) => {
    const { log, units } = subject;
    await append(subject, pending('last-1'), pending('last-1'));
    for (const expected of ['none', 1, 3] as const) {
      await refusesWith(CONFLICT, () => units.run((unit) => log.appendLast(unit, [pending('other-1'), pending('last-1', expected)])));
    }
    assert.deepEqual(
      (await allKeys(subject)).map(({ stream, version }) => [stream, version]),
      [
        ['last-1', 1],
        ['last-1', 2],
      ],
    );
  },
};
