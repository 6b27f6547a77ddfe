import assert from 'node:assert/strict';
import type { Promises } from './contract-case.js';
import { eventually } from './expectations.js';
import { keysOf, type UnitOfWorkUnderTest } from './unit-of-work-under-test.js';

export const commitPromises: Promises<UnitOfWorkUnderTest> = {
  'steps run before COMMIT in order, once, the last one last, for the outermost write unit only': async ({ units, rows }) => {
    const order: string[] = [];
    units.lastBeforeCommit(async () => void order.push('last'));
    units.beforeCommit(async (unit) => {
      order.push(`first of ${unit.kind}`);
      await rows.insert('of a step');
      unit.afterCommit(() => order.push('after'));
    });
    units.beforeCommit(async () => void order.push('second'));
    await units.run(async () => {
      await units.run(() => rows.insert('of the work'));
      order.push('work');
    });
    for (const kind of ['snapshot', 'consumer'] as const) await units.run(() => rows.keys(), { kind });
    assert.deepEqual(order, ['work', 'first of write', 'second', 'last', 'after']);
    assert.deepEqual(await keysOf(rows), ['of a step', 'of the work']);
  },

  'a step that fails undoes the work': async ({ units, rows }) => {
    const done: string[] = [];
    units.beforeCommit(async (unit) => {
      unit.afterCommit(() => done.push('after'));
      await rows.insert('of a step');
    });
    units.lastBeforeCommit(async () => Promise.reject(new Error('no room in the log')));
    await assert.rejects(
      units.run(() => rows.insert('of the work')),
      /no room in the log/,
    );
    assert.deepEqual([await keysOf(rows), done], [[], []]);
  },

  'tasks run after the outermost COMMIT, in order and in no unit, and see what was committed': async ({ units, rows }) => {
    const order: string[] = [];
    let seen: unknown;
    await units.run(async (unit) => {
      unit.afterCommit(() => order.push('first'));
      await units.run(async () => unit.afterCommit(() => order.push('of a unit in it')));
      unit.afterCommit(async () => {
        order.push('last');
        const around = units.current;
        seen = [around, await keysOf(rows)];
      });
      await rows.insert('a');
      assert.deepEqual(order, []);
    });
    assert.deepEqual(order, ['first', 'of a unit in it', 'last']);
    await eventually(() => seen !== undefined, 'the last task has read');
    assert.deepEqual(seen, [undefined, ['a']]);
  },

  'a task that fails undoes nothing, and the others run': async ({ units, rows }) => {
    const done: string[] = [];
    const answer = await units.run(async (unit) => {
      unit.afterCommit(() => {
        throw new Error('in a task: the contract means it');
      });
      unit.afterCommit(async () => Promise.reject(new Error('in an async task: the contract means it')));
      unit.afterCommit(() => done.push('next'));
      await rows.insert('a');
      return 'answer';
    });
    assert.deepEqual([answer, done, await keysOf(rows)], ['answer', ['next'], ['a']]);
  },

  'tasks of a unit that fails never run': async ({ units }) => {
    const done: string[] = [];
    const failing = units.run(async (unit) => {
      unit.afterCommit(() => done.push('never'));
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    assert.deepEqual(done, []);
  },
};
