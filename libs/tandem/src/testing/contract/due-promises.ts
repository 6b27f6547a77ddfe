import assert from 'node:assert/strict';
import type { JobTicket } from '../../jobs/job-store.js';
import type { Promises } from './contract-case.js';
import { upTo } from './expectations.js';
import { discard, done, insert, type JobsUnderTest, newJob, NO_LEASE_MS, running, stateOf, waiting } from './jobs-under-test.js';

const idsOf = (tickets: readonly { readonly id: string }[]): string[] => tickets.map(({ id }) => id);
const plain = (tickets: readonly JobTicket[]): JobTicket[] => tickets.map(({ epoch, id, priority, queue }) => ({ id, epoch, queue, priority }));

export const duePromises: Promises<JobsUnderTest> = {
  'what is due is told oldest first: waiting jobs, and running ones whose lease ran out': async (subject) => {
    const { jobs } = subject;
    const lost = await running(subject, {}, NO_LEASE_MS);
    await running(subject);
    const [a, b] = [await waiting(subject), await waiting(subject)];
    await waiting(subject, { delayMs: 60_000 });
    await done(subject);
    assert.deepEqual(idsOf(await jobs.due(['mail'], 0, 10)), [lost.id, a.id, b.id]);
    assert.deepEqual(plain(await jobs.due(['mail'], 0, 1)), [lost, a]); // one of either kind
    assert.deepEqual([...new Set((await jobs.due(['mail'], 0, 10)).map(({ name }) => name))], ['orders.confirm']);
    // Its own grace is for what waits; a lease has run out or not.
    assert.deepEqual(idsOf(await jobs.due(['mail'], 60_000, 10)), [lost.id]);
  },

  'what is due in one queue is found behind any number of jobs that wait in others': async (subject) => {
    const { jobs } = subject;
    await insert(subject, ...upTo(5).map(() => newJob({ queue: 'abandoned' })));
    const busy = await waiting(subject, { queue: 'busy' });
    assert.deepEqual(plain(await jobs.due(['busy', 'empty'], 0, 3)), [busy]);
    assert.equal((await jobs.due(['busy', 'abandoned'], 0, 3)).length, 4);
    assert.deepEqual(await jobs.due([], 0, 3), []);
  },

  'jobs are counted by name and state, and listed newest first': async (subject) => {
    const { jobs } = subject;
    await running(subject, { name: 'a' });
    const tickets = [await waiting(subject, { name: 'b' }), await waiting(subject, { name: 'b' }), await waiting(subject, { name: 'b' })];
    assert.deepEqual((await jobs.counts()).map((count) => ({ ...count })), [{ name: 'a', state: 'running', count: 1 }, { name: 'b', state: 'waiting', count: 3 }]); // prettier-ignore
    assert.deepEqual(idsOf(await jobs.list('waiting', 2)), [tickets[2]!.id, tickets[1]!.id]);
  },

  'a sweep takes old jobs that are done or discarded, and nothing else': async (subject) => {
    const { jobs } = subject;
    const kept = [await waiting(subject), await running(subject), await running(subject)];
    await jobs.fail(kept[2]!, 'no', undefined);
    const [first, second, third] = [await done(subject), await done(subject), await waiting(subject)];
    await discard(subject, third.id);
    assert.equal(await jobs.sweep(60_000), 0);
    assert.equal(await jobs.sweep(0), 3);
    for (const { id } of [first, second, third]) assert.equal(await stateOf(subject, id), undefined);
    assert.deepEqual(await Promise.all(kept.map(({ id }) => stateOf(subject, id))), ['waiting', 'running', 'parked']);
  },
};
