import assert from 'node:assert/strict';
import type { ChangedJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import type { Promises } from './contract-case.js';
import { claimed, discard, type JobsUnderTest, LEASE_MS, newJob, running, stateOf, waiting } from './jobs-under-test.js';

const MINUTE_MS = 60_000;
const inMinutes = (minutes: number): Date => new Date(Date.now() + minutes * MINUTE_MS);
const reschedule = ({ jobs, units }: JobsUnderTest, id: string, runAt?: Date): Promise<ChangedJob> => units.run((unit) => jobs.reschedule(unit, id, runAt));
const due = async ({ jobs }: JobsUnderTest): Promise<string[]> => (await jobs.due(['mail'], 0, 10)).map(({ id }) => id);

export const changePromises: Promises<JobsUnderTest> = {
  'a job runs at the time that it was made for': async (subject) => {
    await waiting(subject, { delayMs: MINUTE_MS });
    await waiting(subject, { runAt: inMinutes(5) });
    const past = await waiting(subject, { runAt: inMinutes(-5), delayMs: MINUTE_MS });
    assert.deepEqual(await due(subject), [past.id]);
  },

  'what is due is told by priority, then oldest first': async (subject) => {
    const [a, b, c, d] = [await waiting(subject, { priority: 2 }), await waiting(subject, { priority: 1 }), await waiting(subject), await waiting(subject, { priority: 1 })];
    assert.deepEqual(await due(subject), [c.id, b.id, d.id, a.id]);
    assert.deepEqual((await subject.jobs.due(['mail'], 0, 2)).map(({ id, priority }) => [id, priority]), [[c.id, 0], [b.id, 1]]); // prettier-ignore
  },

  'a job that is rescheduled runs at its new time, and its tickets of before are stale': async (subject) => {
    const { jobs } = subject;
    const before = await waiting(subject, { delayMs: MINUTE_MS, priority: 4 });
    const { id, queue } = before;
    assert.deepEqual(await reschedule(subject, id), { change: 'changed', ticket: { id, epoch: 1, queue, priority: 4 } });
    assert.deepEqual(await due(subject), [id]);
    assert.equal((await reschedule(subject, id, inMinutes(5))).ticket?.epoch, 2);
    assert.deepEqual(await due(subject), []);
    assert.equal((await reschedule(subject, id, inMinutes(-5))).ticket?.epoch, 3);
    assert.deepEqual(await due(subject), [id]);
    for (const epoch of [0, 1, 2]) assert.equal(await jobs.claim({ ...before, epoch }, LEASE_MS), undefined);
    assert.equal((await claimed(subject, { ...before, epoch: 3 })).epoch, 4);
  },

  'only what has not begun is rescheduled': async (subject) => {
    const { jobs } = subject;
    const ticket = await running(subject);
    assert.deepEqual(await reschedule(subject, ticket.id), { change: 'running' });
    await jobs.fail(ticket, 'no', undefined);
    assert.deepEqual(await reschedule(subject, ticket.id), { change: 'parked' });
    assert.equal(await discard(subject, ticket.id), 'changed');
    assert.deepEqual(await reschedule(subject, ticket.id), { change: 'ended' });
    assert.deepEqual(await reschedule(subject, newId()), { change: 'missing' });
    await jobs.complete(await running(subject));
    assert.deepEqual(await due(subject), []);
  },

  'a change in a unit that is rolled back has not happened': async (subject) => {
    const { jobs, units } = subject;
    const [a, b] = [await waiting(subject), await waiting(subject)];
    const failing = units.run(async (unit) => {
      assert.equal((await jobs.discard(unit, a.id, 'a test')).change, 'changed');
      assert.equal((await jobs.reschedule(unit, b.id, inMinutes(5))).change, 'changed');
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    assert.deepEqual(await due(subject), [a.id, b.id]);
    assert.deepEqual([await claimed(subject, a), await claimed(subject, b)].map(({ epoch }) => epoch), [1, 1]); // prettier-ignore
  },

  'a change and a claim exclude each other': async (subject) => {
    const { jobs } = subject;
    for (let i = 0; i < 10; i++) {
      const ticket = await waiting(subject, newJob());
      const [claim, { change }] = await Promise.all([jobs.claim(ticket, LEASE_MS), reschedule(subject, ticket.id, inMinutes(5))]);
      assert.deepEqual([claim !== undefined, change], claim ? [true, 'running'] : [false, 'changed']);
      assert.equal(await stateOf(subject, ticket.id), claim ? 'running' : 'waiting');
    }
  },
};
