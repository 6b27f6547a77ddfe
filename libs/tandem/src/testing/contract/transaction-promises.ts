import assert from 'node:assert/strict';
import type { Unit, UnitKind } from '../../kernel/unit-of-work.js';
import type { Promises } from './contract-case.js';
import { refusesWith, rejection, Signal, upTo } from './expectations.js';
import { keysOf, type UnitOfWorkUnderTest } from './unit-of-work-under-test.js';

const LIST = Symbol('list');

export const transactionPromises: Promises<UnitOfWorkUnderTest> = {
  'a unit commits what its work wrote, and returns its answer': async ({ units, rows }) => {
    const answer = await units.run(async (unit) => {
      assert.equal(units.current, unit);
      await rows.insert('a');
      await rows.insert('b');
      assert.deepEqual(await keysOf(rows), ['a', 'b']);
      return 'answer';
    });
    assert.equal(answer, 'answer');
    assert.equal(units.current, undefined);
    assert.deepEqual(await keysOf(rows), ['a', 'b']);
  },

  'a unit whose work throws leaves nothing, and throws what the work threw': async ({ units, rows }) => {
    const mine = new Error('changed my mind');
    const failing = units.run(async () => {
      await rows.insert('a');
      throw mine;
    });
    assert.equal(await rejection(() => failing), mine);
    assert.deepEqual(await keysOf(rows), []);
  },

  'an error of the database that is caught never commits one half of the work': async ({ units, rows }) => {
    await rows.insert('there');
    const run = units.run(async () => {
      await rows.insert('before');
      await rows.insert('there').catch(() => undefined);
      await rows.insert('behind').catch(() => undefined);
    });
    const isCommitted = await run.then(
      () => true,
      () => false,
    );
    assert.deepEqual(await keysOf(rows), isCommitted ? ['before', 'behind', 'there'] : ['there']);
  },

  'units at once are kept apart': async ({ units, rows }) => {
    const run = (key: string) =>
      units.run(async (unit) => {
        unit.add(LIST, key);
        await rows.insert(key);
        assert.equal(units.current, unit);
        assert.deepEqual(unit.listOf(LIST), [key]);
        if (key.endsWith('3')) throw new Error('abort');
      });
    const keys = upTo(20).map((i) => `key-${i}`);
    await Promise.allSettled(keys.map(run));
    assert.deepEqual(await keysOf(rows), keys.filter((key) => !key.endsWith('3')).toSorted()); // prettier-ignore
  },

  'a unit in a unit is part of it: it commits with it and is rolled back with it': async ({ units, rows }) => {
    const nested = (key: string) => units.run(async (outer) => units.run(async (inner) => (assert.equal(inner, outer), rows.insert(key))));
    await nested('a');
    const failing = units.run(async () => {
      await nested('b');
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    assert.deepEqual(await keysOf(rows), ['a']);
  },

  'a unit in a unit that fails and is caught undoes its own part: rows, lists and tasks': async ({ units, rows }) => {
    const done: string[] = [];
    const noted = async (unit: Unit, what: string): Promise<void> => {
      unit.add(LIST, what);
      unit.afterCommit(() => done.push(what));
      await rows.insert(what);
    };
    await units.run(async (unit) => {
      await noted(unit, 'before');
      const failing = units.run(async () => {
        await noted(unit, 'inside');
        await units.run(() => noted(unit, 'further inside'));
        throw new Error('inner');
      });
      await assert.rejects(failing, /inner/);
      await noted(unit, 'behind');
      assert.deepEqual(unit.listOf(LIST), ['before', 'behind']);
    });
    assert.deepEqual(await keysOf(rows), ['before', 'behind']);
    assert.deepEqual(done, ['before', 'behind']);
  },

  'an error of the database inside a unit in a unit that fails does not harm the outer one': async ({ units, rows }) => {
    await rows.insert('there');
    await units.run(async () => {
      await rows.insert('before');
      await rejection(() => units.run(() => rows.insert('there')));
      await rows.insert('behind');
    });
    assert.deepEqual(await keysOf(rows), ['before', 'behind', 'there']);
  },

  'a snapshot refuses writes': async ({ units, rows }) => {
    await refusesWith('TANDEM_QUERY_WROTE', () => units.run(() => rows.insert('a'), { kind: 'snapshot' }));
    assert.deepEqual(await keysOf(rows), []);
  },

  'a snapshot inside a write reads what the write has written': async ({ units, rows }) => {
    await units.run(async (unit) => {
      await rows.insert('a');
      const seen = await units.run(async (same) => (assert.equal(same, unit), keysOf(rows)), { kind: 'snapshot' });
      assert.deepEqual(seen, ['a']);
    });
  },

  'what may not nest is a typed error': async ({ units }) => {
    const nested: readonly (readonly [UnitKind, UnitKind, string])[] = [
      ['snapshot', 'write', 'TANDEM_QUERY_WROTE'],
      ['consumer', 'write', 'TANDEM_EVENT_OUTSIDE_COMMAND'],
      ['write', 'consumer', 'TANDEM_SECOND_CONNECTION'],
      ['snapshot', 'consumer', 'TANDEM_SECOND_CONNECTION'],
    ];
    for (const [outer, inner, code] of nested) await refusesWith(code, () => units.run(() => units.run(async () => 1, { kind: inner }), { kind: outer }));
  },

  'what needs a write unit is told so where there is none': async ({ units }) => {
    await refusesWith('TANDEM_UNIT_OF_WORK_REQUIRED', () => units.require('this'));
    await refusesWith('TANDEM_UNIT_OF_WORK_REQUIRED', () => units.run(async () => units.require('this'), { kind: 'consumer' }));
    await units.run(async (unit) => assert.equal(units.require('this'), unit));
  },

  'code that outlives its unit gets a typed error, and writes nothing': async ({ units, rows }) => {
    for (const end of [async () => undefined, async () => Promise.reject(new Error('abort'))]) {
      const ended = new Signal();
      let late: Promise<void> | undefined;
      const run = units.run(async (unit) => {
        late = ended.given.then(async () => {
          const uses = [() => units.current, () => units.require('this'), () => unit.afterCommit(() => undefined), () => rows.insert('late')];
          for (const use of uses) await refusesWith('TANDEM_UNIT_OF_WORK_CLOSED', use);
          await units.outside(() => rows.keys());
        });
        await rows.keys();
        await end();
      });
      await run.catch(() => undefined);
      ended.give();
      await late;
    }
    assert.deepEqual(await keysOf(rows), []);
  },

  'code that outlives a unit in a unit is not taken for code of the outer one': async ({ units }) => {
    await units.run(async (unit) => {
      const ended = new Signal();
      let late: Promise<void> | undefined;
      await units.run(async () => void (late = ended.given.then(() => refusesWith('TANDEM_UNIT_OF_WORK_CLOSED', () => units.current))));
      ended.give();
      await late;
      assert.equal(units.current, unit);
    });
  },

  'an error that is nobody’s transaction is not transient, and nothing is repeated for it': async ({ units }) => {
    let runs = 0;
    await rejection(() => units.run(async () => (runs++, Promise.reject(new Error('mine')))));
    assert.equal(runs, 1);
    assert.equal(units.isTransient(new Error('mine')), false);
    assert.equal(units.isTransient(undefined), false);
  },
};
