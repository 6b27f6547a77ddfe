/** Jobs whose process dies, whose time is longer than a transaction may be idle, and whose order matters. */
import { Logger } from '@nestjs/common';
import { DurableJobs, JobStore, UnitOfWorkRunner } from 'nest-tandem';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace } from '../support/bank-application.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { Deadly, MakeTally, Patient, SlowMail, startJobs, StepTaken, TakeStep, Tally, Trace, type Trouble } from './jobs/job-application.js';
import { Workers } from './jobs/worker-process.js';

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 300_000 });
const eventually = { timeout: 200_000, interval: 50 };

const SEQUENCES = 6;
const STEPS = 12;
const TALLIES = 100;
const troubleOf = (sequence: string, step: number): Trouble => (sequence === 's0' && step === 7 ? 'kill' : step % 3 === 0 ? 'throw' : 'none');

describeServers('jobs on $name', sqlServers(), (backend) => {
  let place: BankPlace;
  let bank: Bank;
  let workers: Workers | undefined;

  beforeEach(async () => {
    place = await bankPlace(backend);
  });
  afterEach(async () => {
    await workers?.end();
    workers = undefined;
    await bank.app.close();
    await place.remove();
  });

  it('of one key run in the order of commits, while attempts fail, jobs are delayed and workers are killed', async () => {
    bank = await startJobs(place, 'api');
    const [jobs, units] = [bank.app.get(DurableJobs), bank.app.get(UnitOfWorkRunner)];
    workers = new Workers(place, 2);
    const queue = async (sequence: string) => {
      for (let step = 0; step < STEPS; step += 2) {
        const job = (n: number) => new TakeStep(sequence, n, troubleOf(sequence, n));
        await units.run(() => jobs.enqueue(job(step), step === 4 ? { runAt: new Date(Date.now() + 500) } : {}));
        await jobs.enqueue(job(step + 1));
      }
    };
    await Promise.all(Array.from({ length: SEQUENCES }, (_, i) => queue(`s${i}`)));
    const unfinished = async () => (await bank.app.get(JobStore).counts()).filter(({ state }) => state !== 'done');
    await vi.waitFor(async () => expect(await unfinished()).toEqual([]), eventually);

    const taken = await bank.db.getRepository(StepTaken).find({ order: { sequence: 'ASC', position: 'ASC' } });
    expect(taken).toHaveLength(SEQUENCES * STEPS);
    expect(taken.filter(({ position, step }) => position !== step)).toEqual([]);
    expect(workers.deaths).toBeGreaterThan(0);
  });

  it('of one command that run together happen once, with their events, while some fail and workers are killed', async () => {
    bank = await startJobs(place, 'api');
    const [jobs, units] = [bank.app.get(DurableJobs), bank.app.get(UnitOfWorkRunner)];
    const troubleOfTally = (n: number): Trouble => (n % 25 === 7 ? 'kill' : n % 10 === 3 ? 'throw' : 'none');
    const ids = new Map<number, string>();
    for (let from = 0; from < TALLIES; from += 25) {
      await units.run(async () => {
        for (let n = from; n < from + 25; n++) ids.set(n, (await jobs.enqueue(new MakeTally(n, troubleOfTally(n)))).id);
      });
    }
    workers = new Workers(place, 2);
    const unfinished = async () => (await bank.app.get(JobStore).counts()).filter(({ state }) => state !== 'done');
    await vi.waitFor(async () => expect(await unfinished()).toEqual([]), eventually);

    expect((await bank.db.getRepository(Tally).find()).map(({ n }) => n).toSorted((a, b) => a - b)).toEqual([...ids.keys()]);
    const events = await bank.rows<{ stream: string; metadata: string | { causationId: string } }>("SELECT stream, metadata FROM tandem_event WHERE type = 'spec.tallied'");
    const causes = events.map(({ metadata, stream }) => [stream, (typeof metadata === 'string' ? (JSON.parse(metadata) as { causationId: string }) : metadata).causationId]);
    expect(new Map(causes as [string, string][])).toEqual(new Map([...ids].map(([n, id]) => [`tally-${n}`, id])));
    expect(events).toHaveLength(TALLIES);
    expect(await bank.rows('SELECT id FROM tandem_job WHERE attempts = 0'), 'ran together').not.toEqual([]);
    expect(workers.deaths).toBeGreaterThan(0);
  });

  const by = backend.dialect === 'mysql' ? 'SIGKILL' : 'exit';
  it(`that end their process by ${by} are counted, and parked with the reason`, async () => {
    bank = await startJobs(place, 'api');
    const { id } = await bank.app.get(DurableJobs).enqueue(new Deadly(by));
    workers = new Workers(place, 1);
    await vi.waitFor(async () => expect(await bank.app.get(JobStore).list('parked', 10)).toHaveLength(1), eventually);
    expect(await bank.app.get(JobStore).list('parked', 10)).toMatchObject([
      {
        id,
        lastError: expect.stringMatching(
          /^TANDEM_JOB_LOST: spec\.deadly was begun 2 times, and the last time its worker was gone before it ended\. Look for what ended the process of its worker/,
        ) as string,
      },
    ]);
    expect(workers.deaths).toBe(2);
  });

  it('of effect external that take 15 s, with a limit of 10 s for idle transactions, run once', async () => {
    bank = await startJobs(place, 'all', {});
    const { id } = await bank.app.get(DurableJobs).enqueue(new SlowMail(15_000));
    await bank.idle(120_000);
    expect(await bank.db.getRepository(Trace).find()).toMatchObject([{ what: `sent ${id}` }]);
    expect(await bank.rows('SELECT state, attempts, epoch FROM tandem_job')).toEqual([{ state: 'done', attempts: 1, epoch: 1 }]);
  });

  it('are told by their signal that their time is up, and have one idempotency key in all attempts', async () => {
    vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    bank = await startJobs(place, 'all');
    const { id } = await bank.app.get(DurableJobs).enqueue(new Patient());
    await vi.waitFor(
      async () => expect(await bank.app.get(JobStore).list('parked', 10)).toMatchObject([{ id, lastError: expect.stringContaining('TANDEM_JOB_TIMEOUT') as string }]),
      eventually,
    );
    await vi.waitFor(async () => expect((await bank.db.getRepository(Trace).find()).map(({ what }) => what)).toEqual([`gave up ${id}`, `gave up ${id}`]), eventually);
    vi.restoreAllMocks();
  });

  it('are told by their signal that their process stops', async () => {
    bank = await startJobs(place, 'all', { drainTimeoutMs: 50 });
    const { id } = await bank.app.get(DurableJobs).enqueue(new Patient());
    await vi.waitFor(async () => expect(await bank.app.get(JobStore).list('running', 10)).toHaveLength(1), eventually);
    const other = await startJobs(place, 'api');
    await bank.app.close();
    bank = other;
    await vi.waitFor(async () => expect((await other.db.getRepository(Trace).find()).map(({ what }) => what)).toContain(`gave up ${id}`), eventually);
  });
});
