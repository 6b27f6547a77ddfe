import assert from 'node:assert/strict';
import type { DelayedTicket } from '../../jobs/job-store.js';
import type { Promises } from './contract-case.js';
import { Signal, together, upTo } from './expectations.js';
import { claimed, discard, insert, type JobsUnderTest, LEASE_MS, newJob, NO_LEASE_MS, stateOf } from './jobs-under-test.js';

const idsOf = (tickets: readonly { readonly id: string }[]): string[] => tickets.map(({ id }) => id);
const inSequence = (sequenceKey = 'order-1') => newJob({ sequenceKey });
const released = async ({ jobs }: JobsUnderTest, ...keys: string[]): Promise<readonly DelayedTicket[]> => jobs.release(keys.length > 0 ? keys : ['order-1']);

/** Runs off what the sequences let go, one after the other. Returns the ids in this order. */
async function runOff(subject: JobsUnderTest, ...keys: string[]): Promise<string[]> {
  const ran: string[] = [];
  for (let tickets = await released(subject, ...keys); tickets.length > 0; tickets = await released(subject, ...keys)) {
    for (const ticket of tickets) await subject.jobs.complete(await claimed(subject, ticket));
    ran.push(...idsOf(tickets));
  }
  return ran;
}

export const sequencePromises: Promises<JobsUnderTest> = {
  'a sequence has one job at a time that can be claimed, in the order in which they were queued': async (subject) => {
    const { jobs } = subject;
    const [first, second, third, other, free] = [inSequence(), inSequence(), inSequence(), inSequence('order-2'), newJob()];
    const tickets = await insert(subject, first, second, free, other);
    await insert(subject, third);
    for (const ticket of tickets) assert.equal((await jobs.claim(ticket, LEASE_MS)) !== undefined, ticket.id === free.id);
    assert.deepEqual(await jobs.due(['mail'], 0, 10), []);
    const [ticket, ...none] = await released(subject);
    assert.deepEqual([ticket?.id, ticket?.epoch, ticket?.queue, none], [first.id, 0, 'mail', []]);
    assert.deepEqual(idsOf(await jobs.due(['mail'], 0, 10)), [first.id]);
    assert.deepEqual(await Promise.all([first, second, third, other].map(({ id }) => stateOf(subject, id))), ['waiting', 'held', 'held', 'held']);
    assert.deepEqual(await released(subject), []);
    await jobs.complete(await claimed(subject, ticket!));
    assert.deepEqual(await runOff(subject), [second.id, third.id]);
    assert.deepEqual(idsOf(await released(subject, 'order-1', 'order-2')), [other.id]);
  },

  'the first job of a sequence keeps its place while it is delayed, runs, is tried again, is given back or is parked': async (subject) => {
    const { jobs, units } = subject;
    const [first, second] = [newJob({ sequenceKey: 'order-1', delayMs: 60_000 }), inSequence()];
    await insert(subject, first, second);
    const nobodyElse = async () => {
      assert.deepEqual(await released(subject), []);
      assert.equal(await stateOf(subject, second.id), 'held');
    };
    const [ticket] = await released(subject);
    assert.ok(ticket!.delayMs! > 0 && ticket!.delayMs! <= 60_000, `the first job is delayed by ${ticket!.delayMs} ms`);
    await nobodyElse();
    const { ticket: now } = await units.run((unit) => jobs.reschedule(unit, first.id));
    let run = await claimed(subject, now!);
    await nobodyElse();
    run = await claimed(subject, (await jobs.fail(run, 'no', 0))!);
    run = await claimed(subject, (await jobs.giveBack(run, 'not mine', 0))!, NO_LEASE_MS);
    run = await claimed(subject, run);
    await nobodyElse();
    await jobs.fail(run, 'no', undefined);
    await nobodyElse();
    await claimed(subject, (await jobs.retryParked(first.id))[0]!).then((again) => jobs.fail(again, 'no', undefined));
    await nobodyElse();
    assert.equal(await discard(subject, first.id), 'changed');
    assert.deepEqual(idsOf(await released(subject)), [second.id]);
  },

  'a held job that is discarded is left out, one that is rescheduled stays in its place': async (subject) => {
    const { jobs, units } = subject;
    const [first, second, third] = [inSequence(), inSequence(), inSequence()];
    await insert(subject, first, second, third);
    const [ticket] = await released(subject);
    assert.equal(await discard(subject, second.id), 'changed');
    assert.deepEqual(await units.run((unit) => jobs.reschedule(unit, third.id)), { change: 'held' });
    assert.deepEqual(await released(subject), []);
    const changed = await units.run((unit) => jobs.discard(unit, first.id, 'a test'));
    assert.deepEqual(changed, { change: 'changed', left: 'order-1' });
    assert.equal(await jobs.claim(ticket!, LEASE_MS), undefined);
    assert.deepEqual((await released(subject)).map(({ id, epoch }) => [id, epoch]), [[third.id, 1]]); // prettier-ignore
  },

  'jobs of a unit or a savepoint that is rolled back take no place': async (subject) => {
    const { jobs, units } = subject;
    await assert.rejects(
      units.run(async (unit) => {
        await jobs.insert(unit, [inSequence()]);
        throw new Error('abort');
      }),
    );
    const [kept, last] = [inSequence(), inSequence()];
    await units.run(async (unit) => {
      await jobs.insert(unit, [kept]);
      const undone = units.run(async () => {
        await jobs.insert(unit, [inSequence()]);
        throw new Error('abort');
      });
      await assert.rejects(undone, /abort/);
      await jobs.insert(unit, [last]);
    });
    assert.deepEqual(await runOff(subject), [kept.id, last.id]);
  },

  'a job whose dedupe key is there takes no place in its sequence': async (subject) => {
    const [first, second] = [newJob({ sequenceKey: 'order-1', dedupeKey: 'k' }), newJob({ sequenceKey: 'order-1', dedupeKey: 'k2' })];
    await insert(subject, first, { ...inSequence(), dedupeKey: 'k' }, second);
    assert.deepEqual(await runOff(subject), [first.id, second.id]);
  },

  'sequences that nobody let go are found': async (subject) => {
    const firsts = upTo(5).map((i) => inSequence(`order-${i}`));
    await insert(subject, ...firsts, ...upTo(5).map((i) => inSequence(`order-${i}`)));
    assert.deepEqual(new Set(idsOf(await subject.jobs.release())), new Set(idsOf(firsts)));
    assert.deepEqual(await subject.jobs.release(), []);
  },

  'more jobs take their numbers in one unit than fit one statement': async (subject) => {
    const jobs = upTo(1_200).map((i) => inSequence(`order-${i % 300}`));
    await insert(subject, ...jobs);
    const keys = upTo(300).map((i) => `order-${i - 1}`);
    const firsts = await subject.jobs.release(keys);
    assert.deepEqual(new Set(idsOf(firsts)), new Set(idsOf(jobs.filter((_, i) => i < 300))));
  },

  'many that let go at once let go one': async (subject) => {
    const jobs = upTo(3).map(() => inSequence());
    await insert(subject, ...jobs);
    const tickets = (await together(upTo(6).map(() => released(subject)))).flat();
    assert.deepEqual([...new Set(idsOf(tickets))], [jobs[0]!.id]);
    assert.deepEqual(await Promise.all(jobs.map(({ id }) => stateOf(subject, id))), ['waiting', 'held', 'held']);
  },
};

export const overlappingSequencePromises: Promises<JobsUnderTest> = {
  'a sequence has the order of commits, not that of what was queued first': async (subject) => {
    const { jobs, units } = subject;
    const [early, late] = [inSequence(), inSequence()];
    const [queued, committed] = [new Signal(), new Signal()];
    const slow = units.run(async (unit) => {
      await jobs.insert(unit, [early]);
      queued.give();
      await committed.given;
    });
    await queued.given;
    await insert(subject, late).finally(() => committed.give());
    const [ticket] = await released(subject);
    await slow;
    assert.equal(ticket?.id, late.id);
    assert.deepEqual(await released(subject), []);
    await jobs.complete(await claimed(subject, ticket!));
    assert.deepEqual(await runOff(subject), [early.id]);
  },

  'units that take numbers of the same sequences in any order all commit, and each sequence runs off': async (subject) => {
    const { jobs, units } = subject;
    const keys = upTo(6).map((i) => `order-${i}`);
    const work = async (i: number) => {
      const own = (i % 2 ? keys : keys.toReversed()).map((key) => inSequence(key));
      for (const job of own) await units.run((unit) => jobs.insert(unit, [job]));
      await units.run((unit) => jobs.insert(unit, own.map(({ sequenceKey }) => inSequence(sequenceKey!)))); // prettier-ignore
    };
    await together(upTo(8).map(work));
    assert.equal(new Set(await runOff(subject, ...keys)).size, 8 * 2 * keys.length);
  },
};
