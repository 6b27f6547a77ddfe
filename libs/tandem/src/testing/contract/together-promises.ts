import assert from 'node:assert/strict';
import type { ClaimedJob } from '../../jobs/job-store.js';
import type { Promises } from './contract-case.js';
import { hasFields, refusesWith, upTo } from './expectations.js';
import { insert, type JobsUnderTest, LEASE_MS, newJob, NO_LEASE_MS, running, stateOf } from './jobs-under-test.js';

const STALE = 'TANDEM_JOB_STALE';

async function claimedTogether(subject: JobsUnderTest, count: number, leaseMs = LEASE_MS): Promise<readonly ClaimedJob[]> {
  const jobs = await subject.jobs.claimTogether(await insert(subject, ...upTo(count).map(() => newJob())), leaseMs);
  assert.equal(jobs.length, count);
  return jobs;
}

const statesOf = (subject: JobsUnderTest, jobs: readonly ClaimedJob[]) => Promise.all(jobs.map(({ id }) => stateOf(subject, id)));

export const togetherPromises: Promises<JobsUnderTest> = {
  'jobs are claimed together in the order of their tickets, without those that cannot be, and the run counts for none': async (subject) => {
    const { jobs } = subject;
    const tickets = await insert(subject, ...upTo(5).map((i) => newJob(i === 3 ? { delayMs: 60_000 } : { payload: `{"n":${i}}` })));
    await jobs.claim(tickets[0]!, LEASE_MS);
    const claimed = await jobs.claimTogether([...tickets].reverse(), LEASE_MS);
    assert.deepEqual(claimed.map(({ payload }) => payload), ['{"n":5}', '{"n":4}', '{"n":2}']); // prettier-ignore
    for (const job of claimed) hasFields(job, { epoch: 1, attempts: 0, queue: 'mail', name: 'orders.confirm' });
    assert.deepEqual(await jobs.claimTogether(tickets, LEASE_MS), []);
  },

  'of claims of the same jobs at once each job is in one': async (subject) => {
    const tickets = await insert(subject, ...upTo(20).map(() => newJob()));
    const claims = await Promise.all(upTo(6).map((i) => subject.jobs.claimTogether(i % 2 ? tickets : [...tickets].reverse(), LEASE_MS)));
    assert.deepEqual(claims.flatMap((jobs) => jobs.map(({ id }) => id)).toSorted(), tickets.map(({ id }) => id).toSorted()); // prettier-ignore
  },

  'of jobs that were claimed together and lost, each is claimed alone, and that counts': async (subject) => {
    const { jobs } = subject;
    const claimed = await claimedTogether(subject, 3, NO_LEASE_MS);
    assert.equal((await jobs.due(['mail'], 0, 10)).length, 3);
    hasFields(await jobs.claim(claimed[1]!, LEASE_MS), { epoch: 2, attempts: 1 });
    await refusesWith(STALE, () => jobs.complete(claimed[1]!));
  },

  'jobs that ran together are done with the unit of their effects, or none of them': async (subject) => {
    const { jobs, units } = subject;
    const claimed = await claimedTogether(subject, 60);
    const failing = units.run(async (unit) => {
      await jobs.completeTogether(claimed, unit);
      throw new Error('commit fails');
    });
    await assert.rejects(failing, /commit fails/);
    assert.deepEqual(new Set(await statesOf(subject, claimed)), new Set(['running']));
    await units.run((unit) => jobs.completeTogether(claimed, unit));
    assert.deepEqual(new Set(await statesOf(subject, claimed)), new Set(['done']));
  },

  'where one of the jobs that ran together was taken over, none of them is done, and nothing that was written stays': async (subject) => {
    const { jobs, units } = subject;
    const claimed = await claimedTogether(subject, 3, NO_LEASE_MS);
    const over = (await jobs.claim(claimed[2]!, LEASE_MS))!;
    const written = newJob();
    const late = () =>
      units.run(async (unit) => {
        await jobs.insert(unit, [written]);
        await jobs.completeTogether(claimed, unit);
      });
    await refusesWith(STALE, late);
    assert.deepEqual(await statesOf(subject, claimed), ['running', 'running', 'running']);
    assert.equal(await stateOf(subject, written.id), undefined);
    await units.run((unit) => jobs.completeTogether([claimed[0]!, claimed[1]!, over], unit));
    assert.deepEqual(await statesOf(subject, claimed), ['done', 'done', 'done']);
  },

  'jobs that are given back together wait again, with the reason, but not one that was taken over': async (subject) => {
    const { jobs } = subject;
    const claimed = await claimedTogether(subject, 3, NO_LEASE_MS);
    await jobs.claim(claimed[0]!, LEASE_MS);
    await jobs.giveBackTogether(claimed, 'each alone', 0);
    assert.deepEqual(await statesOf(subject, claimed), ['running', 'waiting', 'waiting']);
    const [listed] = await jobs.list('waiting', 1);
    hasFields(listed, { attempts: 0, lastError: 'each alone' });
    hasFields(await jobs.claim(claimed[1]!, LEASE_MS), { epoch: 2, attempts: 1 });
    await jobs.giveBackTogether([], 'nothing', 0);
    await jobs.giveBackTogether([await running(subject)], 'later', 60_000);
    assert.deepEqual((await jobs.due(['mail'], 0, 10)).map(({ id }) => id), [claimed[2]!.id]); // prettier-ignore
  },
};
