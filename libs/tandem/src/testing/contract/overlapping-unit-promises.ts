import assert from 'node:assert/strict';
import type { Promises } from './contract-case.js';
import { Signal } from './expectations.js';
import { keysOf, type UnitOfWorkUnderTest } from './unit-of-work-under-test.js';

/** Two units that each insert what the other has inserted; the database ends one of them. */
function deadlock({ units, rows }: UnitOfWorkUnderTest, tries: number) {
  let holding = 0;
  const bothHold = new Signal();
  const caught: unknown[] = [];
  const attempts: number[] = [];
  const work = (own: string, other: string) =>
    units.run(
      async (unit) => {
        attempts.push(unit.attempt);
        await rows.insert(`${own} of ${unit.attempt}`);
        if (unit.attempt > 1) return;
        await rows.insert(own);
        if (++holding === 2) bothHold.give();
        await bothHold.given;
        // What is caught here has ended the transaction for one of the two.
        for (const key of [other, `${own} behind`]) await rows.insert(key).catch((error: unknown) => caught.push(error));
      },
      { tries },
    );
  return { caught, attempts, ended: Promise.allSettled([work('a', 'b'), work('b', 'a')]) };
}

export const overlappingUnitPromises: Promises<UnitOfWorkUnderTest> = {
  'nobody else sees what a unit writes before its COMMIT': async ({ units, rows }) => {
    await units.run(async () => {
      await rows.insert('a');
      assert.deepEqual(await units.outside(() => keysOf(rows)), []);
    });
    assert.deepEqual(await keysOf(rows), ['a']);
  },

  'what is written outside of the unit stays when the unit is rolled back': async ({ units, rows }) => {
    const failing = units.run(async () => {
      await rows.insert('inside');
      await units.outside(async () => {
        assert.equal(units.current, undefined);
        await rows.insert('by itself');
        await units.run(() => rows.insert('in a unit of its own'));
      });
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    assert.deepEqual(await keysOf(rows), ['by itself', 'in a unit of its own']);
  },

  'a write sees what others commit meanwhile': async ({ units, rows }) => {
    await units.run(async () => {
      assert.deepEqual(await keysOf(rows), []);
      await units.outside(() => rows.insert('a'));
      assert.deepEqual(await keysOf(rows), ['a']);
    });
  },

  'a snapshot sees one state, whatever others commit meanwhile': async ({ units, rows }) => {
    const seen = await units.run(
      async () => {
        const before = await keysOf(rows);
        await units.outside(() => rows.insert('a'));
        return [before, await keysOf(rows)];
      },
      { kind: 'snapshot' },
    );
    assert.deepEqual(seen, [[], []]);
    assert.deepEqual(await keysOf(rows), ['a']);
  },

  'a unit whose transaction the database has ended commits nothing, whatever its work catches': async (subject) => {
    const { caught, ended } = deadlock(subject, 1);
    const outcomes = await ended;
    assert.ok(caught.length > 0);
    const keys = await keysOf(subject.rows);
    for (const [i, own] of ['a', 'b'].entries()) {
      const written = keys.filter((key) => key.startsWith(`${own} `));
      assert.deepEqual(written, outcomes[i]!.status === 'fulfilled' ? [`${own} behind`, `${own} of 1`] : []);
    }
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
    assert.ok(failed.some((error) => subject.units.isTransient(error)));
  },

  'a unit that the database asks to repeat runs again from its start, and what it wrote before is gone': async (subject) => {
    const { attempts, ended } = deadlock(subject, 5);
    const outcomes = await ended;
    const keys = await keysOf(subject.rows);
    assert.ok(attempts.includes(2));
    assert.ok(outcomes.some(({ status }) => status === 'fulfilled'));
    for (const own of ['a', 'b']) {
      const written = keys.filter((key) => key.startsWith(`${own} `));
      assert.ok([`${own} of 2`, `${own} behind,${own} of 1`].includes(written.join()), written.join());
    }
  },
};
