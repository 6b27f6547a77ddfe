import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { JobTicket, NewJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import { SqlJobStore } from './sql-job-store.js';
import { sqlOutside } from './sql.js';

const LEASE_MS = 60_000;
const stale = { code: 'TANDEM_JOB_STALE' };
const newJob = (own: Partial<NewJob> = {}): NewJob => ({
  id: newId(),
  name: 'orders.confirm',
  queue: 'mail',
  payload: '{"total":1.10}',
  metadata: '{"correlationId":"c"}',
  dedupeKey: null,
  delayMs: 0,
  ...own,
});

describe.each(sqlBackends())('SqlJobStore on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlJobStore;

  const insert = (...jobs: NewJob[]): Promise<readonly JobTicket[]> => db.units.run((unit) => store.insert(unit, jobs));
  const one = async (own?: Partial<NewJob>): Promise<JobTicket> => (await insert(newJob(own)))[0]!;
  const running = async (own?: Partial<NewJob>): Promise<JobTicket> => (await store.claim(await one(own), LEASE_MS))!;
  const stateOf = async (id: string): Promise<string> =>
    (await sqlOutside(db.dataSource, (sql) => sql.query<{ state: string }[]>(`SELECT state FROM ${db.tables.job} WHERE id = ?`, [id])))[0]!.state;
  const leaseRunsOut = (id: string): Promise<unknown> => sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.job} SET run_at = created_at WHERE id = ?`, [id]));

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlJobStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(() => sqlOutside(db.dataSource, (sql) => sql.query(`DELETE FROM ${db.tables.job}`)));

  describe('insert', () => {
    it('returns tickets in order, leaving out jobs whose dedupe key is there', async () => {
      const [a, b, c] = [newJob({ dedupeKey: 'k1' }), newJob({ dedupeKey: 'k2' }), newJob()];
      expect(await insert(a, b)).toEqual([a, b].map(({ id, queue }) => ({ id, epoch: 0, queue })));
      expect(await insert(newJob({ dedupeKey: 'k1' }), c, newJob({ dedupeKey: 'k2' }))).toEqual([{ id: c.id, epoch: 0, queue: 'mail' }]);
      const twins = await insert(newJob({ dedupeKey: 'k3' }), newJob({ dedupeKey: 'k3' }), newJob({ dedupeKey: 'K3' }));
      expect(twins).toHaveLength(2);
      expect(await store.counts()).toEqual([{ name: 'orders.confirm', state: 'waiting', count: 5 }]);
      expect(await insert()).toEqual([]);
    });

    it('creates one job when many ask for the same key at once', async () => {
      const tickets = await Promise.all(Array.from({ length: 10 }, () => insert(newJob({ dedupeKey: 'same' }))));
      expect(tickets.flat()).toHaveLength(1);
    });

    it('goes with the unit: a rollback leaves no job', async () => {
      const failing = db.units.run(async (unit) => {
        await store.insert(unit, [newJob({ dedupeKey: 'k' })]);
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow('no');
      expect(await insert(newJob({ dedupeKey: 'k' }))).toHaveLength(1);
    });

    it('refuses a dedupe key that is too long instead of cutting it', async () => {
      await expect(insert(newJob({ dedupeKey: 'k'.repeat(300) }))).rejects.toThrow();
    });

    it('takes more jobs than fit one statement', async () => {
      const jobs = Array.from({ length: 2_500 }, (_, i) => newJob({ dedupeKey: i % 5 ? `k-${i}` : null }));
      expect((await insert(...jobs)).map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
    });
  });

  describe('claim', () => {
    it('raises epoch and attempts and hands out the job as it was written', async () => {
      const job = newJob({ payload: '{"big":9007199254740993,"x":"ü\'\\u0000"}' });
      const [ticket] = await insert(job);
      const claimed = await store.claim(ticket!, LEASE_MS);
      expect(claimed).toEqual({ id: job.id, epoch: 1, queue: 'mail', name: job.name, payload: job.payload, metadata: job.metadata, attempts: 1 });
      expect(await stateOf(job.id)).toBe('running');
    });

    it('gives a ticket to one of many', async () => {
      const ticket = await one();
      const claims = await Promise.all(Array.from({ length: 8 }, () => store.claim(ticket, LEASE_MS)));
      expect(claims.filter(Boolean)).toHaveLength(1);
    });

    it('refuses a stale ticket, and a running job until its lease has run out', async () => {
      const ticket = await one();
      const first = (await store.claim(ticket, LEASE_MS))!;
      expect(await store.claim(ticket, LEASE_MS)).toBeUndefined();
      expect(await store.claim(first, LEASE_MS)).toBeUndefined();
      await leaseRunsOut(ticket.id);
      expect(await store.claim(first, LEASE_MS)).toMatchObject({ epoch: 2, attempts: 2 });
      expect(await store.claim(first, LEASE_MS)).toBeUndefined();
    });

    it('keeps a lease that is renewed, and only for the run that renews it', async () => {
      const [a, b] = [await running(), await running()];
      await leaseRunsOut(a.id);
      await leaseRunsOut(b.id);
      await store.renew([a, { ...b, epoch: b.epoch - 1 }], LEASE_MS);
      expect(await store.claim(a, LEASE_MS)).toBeUndefined();
      expect(await store.claim(b, LEASE_MS)).toBeDefined();
      await store.renew([], LEASE_MS);
    });
  });

  describe('complete', () => {
    it('marks done in the unit, with its effect or not at all', async () => {
      const ticket = await running();
      const failing = db.units.run(async (unit) => {
        await store.complete(ticket, unit);
        throw new Error('commit fails');
      });
      await expect(failing).rejects.toThrow('commit fails');
      expect(await stateOf(ticket.id)).toBe('running');
      await db.units.run((unit) => store.complete(ticket, unit));
      expect(await stateOf(ticket.id)).toBe('done');
      await expect(store.complete(ticket)).rejects.toMatchObject(stale);
    });

    it('refuses a run that another has overtaken, and lets that one end', async () => {
      const slow = await running();
      await leaseRunsOut(slow.id);
      const quick = (await store.claim(slow, LEASE_MS))!;
      await expect(store.complete(slow)).rejects.toMatchObject(stale);
      await expect(db.units.run((unit) => store.complete(slow, unit))).rejects.toMatchObject(stale);
      expect(await store.fail(slow, 'late', 0)).toBeUndefined();
      expect(await stateOf(slow.id)).toBe('running');
      await store.complete(quick);
    });
  });

  describe('fail', () => {
    it('waits again, due when its pause is over, with the error told', async () => {
      const ticket = await running();
      const next = await store.fail(ticket, `Error: ${'x'.repeat(3_000)}`, 60_000.5);
      expect(next).toEqual({ id: ticket.id, epoch: 1, queue: 'mail' });
      expect(await store.due(['mail'], 0, 10)).toEqual([]);
      const [listed] = await store.list('waiting', 10);
      expect(listed).toMatchObject({ id: ticket.id, attempts: 1 });
      expect(listed!.lastError).toHaveLength(1_000);
      expect(await store.claim(next!, LEASE_MS)).toMatchObject({ epoch: 2, attempts: 2 });
    });

    it('parks without a pause, until somebody retries it', async () => {
      const ticket = await running();
      expect(await store.fail(ticket, 'no', undefined)).toBeUndefined();
      expect(await store.list('parked', 10)).toEqual([{ id: ticket.id, name: 'orders.confirm', queue: 'mail', state: 'parked', attempts: 1, lastError: 'no' }]);
      expect(await store.claim(ticket, LEASE_MS)).toBeUndefined();
      const tickets = await store.retryParked(ticket.id);
      expect(tickets).toEqual([{ id: ticket.id, epoch: 1, queue: 'mail' }]);
      expect(await store.retryParked(ticket.id)).toEqual([]);
      expect(await store.claim(tickets[0]!, LEASE_MS)).toMatchObject({ attempts: 1, epoch: 2 });
    });
  });

  it('finds what is due, oldest first: waiting jobs and running ones whose lease ran out', async () => {
    const lost = await running();
    await leaseRunsOut(lost.id);
    await running();
    const [a, b] = [await one(), await one()];
    await one({ delayMs: 60_000 });
    const done = await running();
    await store.complete(done);
    expect((await store.due(['mail'], 0, 10)).map(({ id }) => id)).toEqual([lost.id, a.id, b.id]);
    expect(await store.due(['mail'], 0, 1)).toEqual([{ id: lost.id, epoch: 1, queue: 'mail' }, a]);
    expect((await store.due(['mail'], 60_000, 10)).map(({ id }) => id)).toEqual([lost.id]);
  });

  it('finds what is due in one queue behind any number of jobs that wait in others', async () => {
    await insert(...Array.from({ length: 5 }, () => newJob({ queue: 'abandoned' })));
    const one = (await insert(newJob({ queue: 'busy' })))[0]!;
    expect(await store.due(['busy', 'empty'], 0, 3)).toEqual([one]);
    expect(await store.due(['busy', 'abandoned'], 0, 3)).toHaveLength(4);
    expect(await store.due([], 0, 3)).toEqual([]);
  });

  it('gives back without counting the attempt', async () => {
    const ticket = await running();
    const next = (await store.giveBack(ticket, 'not mine', 0))!;
    expect(await store.claim(next, LEASE_MS)).toMatchObject({ attempts: 1, epoch: 2 });
    expect(await store.giveBack(next, 'late', 0)).toBeUndefined();
  });

  it('counts by name and state, and lists a state newest first', async () => {
    await running({ name: 'a' });
    const tickets = [await one({ name: 'b' }), await one({ name: 'b' }), await one({ name: 'b' })];
    expect(await store.counts()).toEqual([
      { name: 'a', state: 'running', count: 1 },
      { name: 'b', state: 'waiting', count: 3 },
    ]);
    expect((await store.list('waiting', 2)).map(({ id }) => id)).toEqual([tickets[2]!.id, tickets[1]!.id]);
  });

  it('sweeps old done jobs in steps and nothing else', async () => {
    const jobs = await insert(...Array.from({ length: 1_203 }, () => newJob()));
    const kept = [await one(), await running()];
    const parked = await running();
    await store.fail(parked, 'no', undefined);
    const fresh = await running();
    await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.job} SET state = 'done' WHERE id IN (?)`, [jobs.slice(0, 600).map(({ id }) => id)]));
    await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.job} SET state = 'done' WHERE id IN (?)`, [jobs.slice(600).map(({ id }) => id)]));
    await store.complete(fresh);
    expect(await store.sweep(60_000)).toBe(0);
    expect(await store.sweep(0)).toBe(1_204);
    expect((await store.counts()).reduce((sum, { count }) => sum + count, 0)).toBe(kept.length + 1);
  });
});
