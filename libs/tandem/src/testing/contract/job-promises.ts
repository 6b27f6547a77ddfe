import assert from 'node:assert/strict';
import { newId } from '../../kernel/new-id.js';
import type { Promises } from './contract-case.js';
import { eventually, hasFields, refusesWith, upTo } from './expectations.js';
import { discard, insert, type JobsUnderTest, LEASE_MS, newJob, NO_LEASE_MS, running, stateOf, waiting } from './jobs-under-test.js';

const STALE = 'TANDEM_JOB_STALE';

export const insertPromises: Promises<JobsUnderTest> = {
  'insert returns tickets in order, and leaves out jobs whose dedupe key is there': async (subject) => {
    const [a, b, c] = [newJob({ dedupeKey: 'k1' }), newJob({ dedupeKey: 'k2' }), newJob()];
    assert.deepEqual(await insert(subject, a, b), [a, b].map(({ id, queue }) => ({ id, epoch: 0, queue, priority: 0 }))); // prettier-ignore
    assert.deepEqual(await insert(subject, newJob({ dedupeKey: 'k1' }), c, newJob({ dedupeKey: 'k2' })), [{ id: c.id, epoch: 0, queue: 'mail', priority: 0 }]);
    const twins = await insert(subject, newJob({ dedupeKey: 'k3' }), newJob({ dedupeKey: 'k3' }), newJob({ dedupeKey: 'K3' }));
    assert.equal(twins.length, 2);
    assert.deepEqual(await subject.jobs.counts(), [{ name: 'orders.confirm', state: 'waiting', count: 5 }]);
    assert.deepEqual(await insert(subject), []);
  },

  'the job that has a dedupe key is told, inside its own unit too': async (subject) => {
    const { jobs, units } = subject;
    const job = newJob({ dedupeKey: 'k1' });
    await units.run(async (unit) => {
      assert.equal(await jobs.withDedupeKey(unit, 'k1'), undefined);
      await jobs.insert(unit, [job]);
      assert.equal(await jobs.withDedupeKey(unit, 'k1'), job.id);
    });
    assert.equal(await units.run((unit) => jobs.withDedupeKey(unit, 'k1')), job.id);
  },

  'a dedupe key stays taken when its job is done': async (subject) => {
    await subject.jobs.complete(await running(subject, { dedupeKey: 'k1' }));
    assert.deepEqual(await insert(subject, newJob({ dedupeKey: 'k1' })), []);
  },

  'one job is made when many ask for the same key at once': async (subject) => {
    const tickets = await Promise.all(upTo(10).map(() => insert(subject, newJob({ dedupeKey: 'same' }))));
    assert.equal(tickets.flat().length, 1);
  },

  'a rollback leaves no job, and its dedupe key free': async (subject) => {
    const failing = subject.units.run(async (unit) => {
      await subject.jobs.insert(unit, [newJob({ dedupeKey: 'k' })]);
      throw new Error('abort');
    });
    await assert.rejects(failing, /abort/);
    assert.deepEqual(await subject.jobs.counts(), []);
    assert.equal((await insert(subject, newJob({ dedupeKey: 'k' }))).length, 1);
  },

  'a dedupe key that is too long is refused, not cut': async (subject) => {
    await assert.rejects(insert(subject, newJob({ dedupeKey: 'k'.repeat(300) })));
    assert.deepEqual(await subject.jobs.counts(), []);
  },

  'more jobs are taken than fit one statement': async (subject) => {
    const jobs = upTo(2_500).map((i) => newJob({ dedupeKey: i % 5 ? `k-${i}` : null }));
    assert.deepEqual((await insert(subject, ...jobs)).map(({ id }) => id), jobs.map(({ id }) => id)); // prettier-ignore
  },
};

export const claimJobPromises: Promises<JobsUnderTest> = {
  'a claim raises epoch and attempts, and hands out the job as it was written': async (subject) => {
    const job = newJob({ payload: '{"big":9007199254740993,"x":"ü\'\\u0000"}' });
    const [ticket] = await insert(subject, job);
    const { id, name, queue, payload, metadata } = job;
    assert.deepEqual({ ...(await subject.jobs.claim(ticket!, LEASE_MS)) }, { id, epoch: 1, queue, priority: 0, name, payload, metadata, attempts: 1, sequenceKey: null });
    assert.equal(await stateOf(subject, id), 'running');
  },

  'a ticket is given to one of many': async (subject) => {
    const ticket = await waiting(subject);
    const claims = await Promise.all(upTo(8).map(() => subject.jobs.claim(ticket, LEASE_MS)));
    assert.equal(claims.filter(Boolean).length, 1);
  },

  'a claim refuses a stale ticket, and a running job until its lease has run out': async (subject) => {
    const { jobs } = subject;
    const ticket = await waiting(subject);
    const first = (await jobs.claim(ticket, LEASE_MS))!;
    assert.equal(await jobs.claim(ticket, LEASE_MS), undefined);
    assert.equal(await jobs.claim(first, LEASE_MS), undefined);
    await jobs.renew([first], NO_LEASE_MS);
    hasFields(await jobs.claim(first, LEASE_MS), { epoch: 2, attempts: 2 });
    assert.equal(await jobs.claim(first, LEASE_MS), undefined);
    assert.equal(await jobs.claim({ id: newId(), epoch: 0, queue: 'mail' }, LEASE_MS), undefined);
  },

  'a lease runs out by itself': async (subject) => {
    const ticket = await running(subject, {}, 300);
    assert.deepEqual(await subject.jobs.due(['other'], 0, 10), []);
    await eventually(async () => (await subject.jobs.due(['mail'], 0, 10)).length === 1, 'the job is due again');
    hasFields(await subject.jobs.claim(ticket, LEASE_MS), { epoch: 2, attempts: 2 });
  },

  'a lease that is renewed stays, and only for the run that renews it': async (subject) => {
    const { jobs } = subject;
    const [a, b] = [await running(subject, {}, NO_LEASE_MS), await running(subject, {}, NO_LEASE_MS)];
    await jobs.renew([a, { ...b, epoch: b.epoch - 1 }], LEASE_MS);
    assert.equal(await jobs.claim(a, LEASE_MS), undefined);
    assert.ok(await jobs.claim(b, LEASE_MS));
    await jobs.renew([], LEASE_MS);
  },
};

export const endPromises: Promises<JobsUnderTest> = {
  'a job is done with the unit of its effect, or not at all': async (subject) => {
    const { jobs, units } = subject;
    const ticket = await running(subject);
    const failing = units.run(async (unit) => {
      await jobs.complete(ticket, unit);
      throw new Error('commit fails');
    });
    await assert.rejects(failing, /commit fails/);
    assert.equal(await stateOf(subject, ticket.id), 'running');
    await units.run((unit) => jobs.complete(ticket, unit));
    assert.equal(await stateOf(subject, ticket.id), 'done');
    await refusesWith(STALE, () => jobs.complete(ticket));
    assert.equal(await jobs.claim(ticket, LEASE_MS), undefined);
  },

  'a run that another has overtaken has no say, and the other one ends': async (subject) => {
    const { jobs, units } = subject;
    const slow = await running(subject, {}, NO_LEASE_MS);
    const quick = (await jobs.claim(slow, LEASE_MS))!;
    await refusesWith(STALE, () => jobs.complete(slow));
    await refusesWith(STALE, () => units.run((unit) => jobs.complete(slow, unit)));
    assert.equal(await jobs.fail(slow, 'late', 0), undefined);
    assert.equal(await jobs.fail(slow, 'late', undefined), undefined);
    assert.equal(await jobs.giveBack(slow, 'late', 0), undefined);
    assert.equal(await stateOf(subject, slow.id), 'running');
    await jobs.complete(quick);
    assert.equal(await stateOf(subject, slow.id), 'done');
  },

  'a failed run waits again, with its error told, and is due when its pause is over': async (subject) => {
    const { jobs, units } = subject;
    const ticket = await running(subject);
    const next = await jobs.fail(ticket, `Error: ${'x'.repeat(3_000)}`, 60_000.5);
    assert.deepEqual({ ...next }, { id: ticket.id, epoch: 1, queue: 'mail', priority: 0 });
    assert.deepEqual(await jobs.due(['mail'], 0, 10), []);
    const [listed] = await jobs.list('waiting', 10);
    hasFields(listed, { id: ticket.id, attempts: 1 });
    assert.match(listed!.lastError!, /^Error: xxx/);
    assert.equal(await jobs.claim(next!, LEASE_MS), undefined, 'a ticket of a process whose clock is ahead');
    const { ticket: now } = await units.run((unit) => jobs.reschedule(unit, ticket.id));
    hasFields(await jobs.claim(now!, LEASE_MS), { epoch: 3, attempts: 2 });
    const again = await jobs.fail({ ...next!, epoch: 3 }, 'Error: no', 300);
    await eventually(async () => (await jobs.due(['mail'], 0, 10)).length === 1, 'the pause is over');
    hasFields(again, { epoch: 3 });
  },

  'a run that fails without a pause is parked, until somebody retries it with its attempts counted anew': async (subject) => {
    const { jobs } = subject;
    const ticket = await running(subject);
    assert.equal(await jobs.fail(ticket, 'no', undefined), undefined);
    const listed = await jobs.list('parked', 10);
    assert.deepEqual(listed.map((job) => ({ ...job })), [{ id: ticket.id, name: 'orders.confirm', queue: 'mail', state: 'parked', attempts: 1, lastError: 'no' }]); // prettier-ignore
    assert.equal(await jobs.claim(ticket, LEASE_MS), undefined);
    const [again, ...more] = await jobs.retryParked(ticket.id);
    assert.deepEqual([{ ...again }, more], [{ id: ticket.id, epoch: 1, queue: 'mail', priority: 0 }, []]);
    assert.deepEqual(await jobs.retryParked(ticket.id), []);
    hasFields(await jobs.claim(again!, LEASE_MS), { attempts: 1, epoch: 2 });
  },

  'a run that is given back does not count as an attempt': async (subject) => {
    const { jobs } = subject;
    const next = (await jobs.giveBack(await running(subject), 'not mine', 0))!;
    hasFields(await jobs.claim(next, LEASE_MS), { attempts: 1, epoch: 2 });
    assert.equal(await jobs.giveBack(next, 'late', 0), undefined);
  },

  'a waiting or parked job that is discarded never runs again, a running one is left alone': async (subject) => {
    const { jobs } = subject;
    const [a, b, c] = [await waiting(subject), await running(subject), await running(subject)];
    await jobs.fail(b, 'no', undefined);
    assert.deepEqual([await discard(subject, a.id), await discard(subject, b.id), await discard(subject, c.id)], ['changed', 'changed', 'running']);
    assert.deepEqual([await discard(subject, a.id), await discard(subject, newId())], ['ended', 'missing']);
    assert.equal(await jobs.claim(a, LEASE_MS), undefined);
    assert.deepEqual(await jobs.retryParked(b.id), []);
    const told = (await jobs.list('discarded', 10)).map(({ id, lastError }) => [id, lastError]);
    assert.deepEqual(new Map(told as [string, string][]), new Map([[a.id, 'a test'], [b.id, 'a test']])); // prettier-ignore
    await jobs.complete(c);
  },
};
