import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventKey } from '../../events/event-log.js';
import type { Promises } from './contract-case.js';
import { allKeys, append, type EventLogUnderTest, pending, reading, versionsOf } from './event-log-under-test.js';
import { refusesWith, rejection, together, upTo } from './expectations.js';

/** A reader as consumers read: heads first, keys in a later statement, and on over contiguous numbers only. */
class Follower {
  private readonly seen = new Map<number, EventKey[]>();

  constructor(private readonly subject: EventLogUnderTest) {}

  of(shard: number): readonly EventKey[] {
    return this.seen.get(shard) ?? [];
  }

  async follow(): Promise<void> {
    const { heads } = await this.subject.log.heads();
    const ranges = [...heads].map(([shard, head]) => ({ shard, after: this.of(shard).length, upTo: head })).filter(({ after, upTo: head }) => head > after);
    for (const key of await reading(this.subject, (unit) => this.subject.log.readKeys(unit, ranges))) {
      if (key.seq === this.of(key.shard).length + 1) this.seen.set(key.shard, [...this.of(key.shard), key]);
    }
  }
}

/** Writers at once, each in its own lane; resolves to how many events were committed. */
async function writeAtOnce(writers: number, write: (writer: number) => Promise<number>): Promise<number> {
  const counts = await together(upTo(writers).map(write));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Reads beside the work until that has ended, and once more. */
async function beside<T>(work: Promise<T>, read: () => Promise<void>): Promise<T> {
  let isWorking = true;
  const ended = work.finally(() => (isWorking = false));
  const reader = (async () => {
    while (isWorking) await read();
    await read();
  })();
  const [result] = await together<[T, void]>([ended, reader]);
  return result;
}

export const manyWritersPromises: Promises<EventLogUnderTest> = {
  'numbers have no holes under many writers, and a reader that follows the heads skips nothing': async (subject) => {
    const { log, units } = subject;
    const follower = new Follower(subject);
    const write = async (writer: number): Promise<number> => {
      let committed = 0;
      for (const i of upTo(12)) {
        const isUndone = i % 6 === 0;
        const events = [pending(`common-${i % 3}`), pending(`own-${writer}`), pending(`common-${(i + writer) % 5}`)];
        const outcome = units.run(async (unit) => {
          await log.append(unit, events);
          await sleep(Math.random() * 8);
          if (isUndone) throw new Error('changed my mind');
        });
        if (isUndone) await assert.rejects(outcome, /changed my mind/);
        else await outcome.then(() => (committed += events.length));
      }
      return committed;
    };
    const committed = await beside(writeAtOnce(16, write), () => follower.follow());

    const keys = await allKeys(subject);
    assert.equal(keys.length, committed);
    for (const [shard, head] of (await log.heads()).heads) {
      const own = keys.filter((key) => key.shard === shard);
      assert.deepEqual(own.map(({ seq }) => seq), upTo(head)); // prettier-ignore
      assert.deepEqual(follower.of(shard), own);
      const times = own.map(({ recordedAtMicros }) => recordedAtMicros);
      assert.deepEqual(times, times.toSorted((a, b) => a - b)); // prettier-ignore
    }
    for (const stream of new Set(keys.map((key) => key.stream))) {
      const versions = versionsOf(keys.filter((key) => key.stream === stream));
      assert.deepEqual(versions, upTo(versions.length));
    }
  },

  'appends that commit leave no hole beside others that are refused': async (subject) => {
    const { log, units } = subject;
    const write = async (writer: number): Promise<number> => {
      let committed = 0;
      for (const i of upTo(15)) {
        const isRefused = i > 1 && i % 5 === 0;
        const events = [pending(`common-${i % 3}`), pending(`own-${writer}`, isRefused ? 'none' : 'any'), pending(`common-${(i + writer) % 5}`)];
        const run = () => units.run((unit) => log.appendLast(unit, events));
        if (isRefused) await refusesWith('TANDEM_CONCURRENCY_CONFLICT', run);
        else committed += (await run()).length;
      }
      return committed;
    };
    const committed = await writeAtOnce(12, write);
    const keys = await allKeys(subject);
    assert.equal(keys.length, committed);
    for (const [shard, head] of (await log.heads()).heads) assert.deepEqual(keys.filter((key) => key.shard === shard).map(({ seq }) => seq), upTo(head)); // prettier-ignore
    assert.equal(new Set(keys.map(({ stream, version }) => `${stream}/${version}`)).size, keys.length);
  },

  'a stream that is read under many writers has no hole, and what was read once is there again': async (subject) => {
    const { log, units } = subject;
    const write = async (writer: number): Promise<number> => {
      for (const i of upTo(15)) {
        const run = () => units.run((unit) => log.appendLast(unit, [pending(`busy-${i % 4}`), pending('read-1'), pending(`own-${writer}`), pending('read-1')]));
        if (i % 5 > 0) await run();
        else
          await rejection(() =>
            units.run(async (unit) => {
              await log.append(unit, [pending('read-1')]);
              throw new Error('changed my mind');
            }),
          );
      }
      return 12 * 2;
    };
    let seen: readonly string[] = [];
    const committed = await beside(writeAtOnce(8, write), async () => {
      const events = await log.readStream('', 'read-1');
      assert.deepEqual(versionsOf(events), upTo(events.length));
      const ids = events.map(({ eventId }) => eventId);
      assert.deepEqual(ids.slice(0, seen.length), seen);
      seen = ids;
      const newest = versionsOf(await log.readStream('', 'read-1', { backwards: true, limit: 5 }));
      const last = newest[0] ?? 0;
      assert.ok(last >= seen.length);
      assert.deepEqual(newest, upTo(last).toReversed().slice(0, 5)); // prettier-ignore
    });
    assert.equal(seen.length, committed);
  },
};

export const overlappingAppendPromises: Promises<EventLogUnderTest> = {
  'what a unit has appended is seen by nobody else before its COMMIT': async (subject) => {
    const { log, units } = subject;
    await append(subject, pending('unseen-1'));
    await units.run(async (unit) => {
      await log.append(unit, [pending('unseen-1'), pending('unseen-2')]);
      await units.outside(async () => {
        assert.deepEqual(versionsOf(await log.readStream('', 'unseen-1')), [1]);
        assert.equal((await log.heads()).heads.size, 1);
        assert.equal((await allKeys(subject)).length, 1);
      });
    });
    assert.equal((await allKeys(subject)).length, 3);
  },

  'an append to other shards does not wait for one that is not committed yet': async (subject) => {
    const { log, units } = subject;
    await units.run(async (unit) => {
      await log.append(unit, [pending('a-1')]);
      await units.outside(() => append(subject, pending('b-2')));
    });
    assert.equal((await allKeys(subject)).length, 2);
  },
};
