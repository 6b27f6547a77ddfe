import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../test/support/tandem-database.js';
import { SqlJobStore } from '../adapters/typeorm/sql-job-store.js';
import { Clock } from '../kernel/clock.js';
import { DurableJobs } from './durable-jobs.js';
import { JobOutbox } from './job-outbox.js';
import type { DelayedTicket, JobTicket } from './job-store.js';
import { JobTransport } from './job-transport.js';
import { QueuedCommand } from './queued-command.js';

@QueuedCommand('spec.mail', { queue: 'spec', effect: 'external' })
class Mail {}
@QueuedCommand('spec.reminder', { queue: 'spec', effect: 'external', delayMs: 5_000, priority: 3 })
class Reminder {}
@QueuedCommand('spec.step', { queue: 'spec', effect: 'external', sequenceBy: (step) => `order-${step.orderId}` })
class Step {
  constructor(readonly orderId: string) {}
}

class ListedTransport extends JobTransport {
  readonly added: DelayedTicket[] = [];
  override add = (tickets: readonly DelayedTicket[]) => Promise.resolve(void this.added.push(...tickets));
  override work = () => Promise.resolve();
  override queued = () => Promise.resolve(0);
  override handOver = () => Promise.resolve();
  override stop = () => Promise.resolve();
}

describe.each(sqlBackends())('DurableJobs on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlJobStore;
  let transport: ListedTransport;
  let jobs: DurableJobs;

  beforeEach(async () => {
    db = await tandemDatabase(backend);
    store = new SqlJobStore(db.dataSource, db.tables);
    transport = new ListedTransport();
    jobs = new DurableJobs(
      db.units,
      new JobOutbox(store, transport, new Clock(), { jobLeaseMs: 60_000, keepDoneJobsMs: 60_000, maxQueuedTickets: 1_000, reconcileEveryMs: 60_000, drainTimeoutMs: 1_000 }),
      store,
    );
  });
  afterEach(() => db.drop());

  it('answers with the job that has the dedupe key, also inside the unit that made it', async () => {
    const first = await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' });
    expect(first.created).toBe(true);
    expect(await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' })).toEqual({ id: first.id, created: false });
    const [one, again] = await db.units.run(
      async () => [await jobs.enqueue(new Mail(), { dedupeKey: 'order-2' }), await jobs.enqueue(new Mail(), { dedupeKey: 'order-2' })] as const,
    );
    expect([one, again]).toEqual([
      { id: one.id, created: true },
      { id: one.id, created: false },
    ]);
    expect((await store.list('waiting', 10)).map(({ id }) => id)).toEqual(expect.arrayContaining([first.id, one.id]));
    expect(transport.added.map(({ id }) => id)).toEqual([first.id, one.id]);
  });

  const parked = async (): Promise<JobTicket> => {
    const { id } = await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' });
    const claimed = (await store.claim({ id, epoch: 0, queue: 'spec' }, 60_000))!;
    await store.fail(claimed, 'no such address', undefined);
    return claimed;
  };

  it('says where to queue instead, inside what consumes the log, and refuses a query handler', async () => {
    await expect(db.units.run(() => jobs.enqueue(new Mail()), { kind: 'consumer' })).rejects.toMatchObject({
      code: 'TANDEM_EVENT_OUTSIDE_COMMAND',
      message: expect.stringMatching(/DurableJobs was used inside a projection.*@DurableSaga/s),
    });
    await expect(db.units.run(() => jobs.enqueue(new Mail()), { kind: 'snapshot' })).rejects.toMatchObject({
      code: 'TANDEM_QUERY_WROTE',
      message: expect.stringContaining('DurableJobs'),
    });
    expect(await store.counts()).toEqual([]);
    await expect(db.units.run(() => jobs.retry('any'), { kind: 'consumer' })).rejects.toMatchObject({ code: 'TANDEM_EVENT_OUTSIDE_COMMAND' });
  });

  it('sends a parked job again, its attempts counted anew', async () => {
    const { id, epoch, queue } = await parked();
    expect(await jobs.retry(id)).toBe(true);
    expect(transport.added.at(-1)).toEqual({ id, epoch, queue, priority: 0 });
    expect(await store.list('waiting', 10)).toMatchObject([{ id, attempts: 0 }]);
    expect(await jobs.retry(id)).toBe(false);
  });

  it('discards a parked job: it never runs, keeps its dedupe key and tells the reason', async () => {
    const { id } = await parked();
    expect(await jobs.discard(id, 'the customer has left')).toBe(true);
    expect(await store.list('discarded', 10)).toMatchObject([{ id, lastError: 'the customer has left' }]);
    expect([await jobs.retry(id), await jobs.discard(id, 'again')]).toEqual([false, false]);
    expect(await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' })).toEqual({ id, created: false });
  });

  it('discards a job that waits, so that a ticket which is on its way finds nothing to run, but none that is running', async () => {
    const [waiting, running] = [await jobs.enqueue(new Mail()), await jobs.enqueue(new Mail())];
    const claimed = (await store.claim({ id: running.id, epoch: 0, queue: 'spec' }, 60_000))!;
    expect([await jobs.discard(waiting.id, 'not needed'), await jobs.discard(running.id, 'not needed')]).toEqual([true, false]);
    expect(await store.claim({ id: waiting.id, epoch: 0, queue: 'spec' }, 60_000)).toBeUndefined();
    expect(await store.due(['spec'], 0, 10)).toEqual([]);
    await store.complete(claimed);
    expect(await store.sweep(60_000)).toBe(0);
    expect(await store.sweep(0)).toBe(2);
    expect(await store.counts()).toEqual([]);
  });

  it('discards nothing without a reason', async () => {
    const { id } = await parked();
    await expect(jobs.discard(id, ' ')).rejects.toMatchObject({ code: 'TANDEM_VALIDATION', data: { violations: [{ path: 'reason' }] } });
    expect(await store.list('parked', 10)).toMatchObject([{ id }]);
  });

  it('refuses an option that does not exist', async () => {
    const refused = { code: 'TANDEM_WIRING', message: expect.stringContaining('there is no option `runAfter` of DurableJobs.enqueue') as string };
    await expect(jobs.enqueue(new Mail(), { runAfter: new Date() } as object)).rejects.toMatchObject(refused);
    expect(await store.list('waiting', 10)).toEqual([]);
  });

  const MINUTES = 60_000;
  const inMinutes = (minutes: number): Date => new Date(Date.now() + minutes * MINUTES);
  const sent = (count: number) => vi.waitFor(() => expect(transport.added).toHaveLength(count), { timeout: 60_000, interval: 5 });

  it('sends what runs soon with its delay and priority, and leaves what runs later to SQL', async () => {
    const { id } = await jobs.enqueue(new Reminder());
    await sent(1);
    expect(transport.added).toEqual([{ id, epoch: 0, queue: 'spec', priority: 3, delayMs: 5_000 }]);
    await jobs.enqueue(new Reminder(), { runAt: inMinutes(10) });
    const past = await jobs.enqueue(new Reminder(), { runAt: inMinutes(-10) });
    await sent(2);
    expect(transport.added[1]).toEqual({ id: past.id, epoch: 0, queue: 'spec', priority: 3, delayMs: 0 });
    expect((await store.due(['spec'], 0, 10)).map((ticket) => ticket.id)).toEqual([past.id]);
  });

  it('runs now what was to run later, once: the ticket of before is stale', async () => {
    const { id } = await jobs.enqueue(new Mail(), { runAt: inMinutes(10) });
    expect(await jobs.runNow(id)).toBe('changed');
    await sent(1);
    expect(transport.added).toEqual([{ id, epoch: 1, queue: 'spec', priority: 0, delayMs: 0 }]);
    expect(await store.claim({ id, epoch: 0, queue: 'spec' }, 60_000)).toBeUndefined();
    const running = await store.claim(transport.added[0]!, 60_000);
    expect(await Promise.all([jobs.runNow(id), jobs.reschedule(id, inMinutes(1)), jobs.cancel(id)])).toEqual(['running', 'running', 'running']);
    await store.complete(running!);
    expect(await Promise.all([jobs.runNow(id), jobs.reschedule(id, inMinutes(1)), jobs.cancel(id)])).toEqual(['ended', 'ended', 'ended']);
    expect(await Promise.all([jobs.runNow('nobody'), jobs.reschedule('nobody', inMinutes(1)), jobs.cancel('nobody')])).toEqual(['missing', 'missing', 'missing']);
  });

  it('puts a job off, and cancels it with the unit that says so', async () => {
    const { id } = await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' });
    await sent(1);
    expect(await jobs.reschedule(id, inMinutes(10))).toBe('changed');
    expect([await store.due(['spec'], 0, 10), await store.claim(transport.added[0]!, 60_000)]).toEqual([[], undefined]);
    const regrets = db.units.run(async () => {
      expect(await jobs.cancel(id)).toBe('changed');
      throw new Error('the customer stays');
    });
    await expect(regrets).rejects.toThrow('the customer stays');
    expect(await store.list('waiting', 10)).toMatchObject([{ id }]);
    expect(await db.units.run(() => jobs.cancel(id))).toBe('changed');
    expect(await store.list('discarded', 10)).toMatchObject([{ id, lastError: 'It was cancelled' }]);
    expect(await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' })).toEqual({ id, created: false });
  });

  it('leaves a parked job to `retry`, and cancels it', async () => {
    const { id } = await parked();
    expect([await jobs.runNow(id), await jobs.reschedule(id, inMinutes(1)), await jobs.cancel(id)]).toEqual(['parked', 'parked', 'changed']);
  });

  it('sends the next job of a sequence when the first is cancelled, and none before', async () => {
    const [first, second, other] = [await jobs.enqueue(new Step('1')), await jobs.enqueue(new Step('1')), await jobs.enqueue(new Step('2'))];
    // Two that let go at once may both send the ticket.
    const sentAre = (...ids: string[]) => vi.waitFor(() => expect(new Set(transport.added.map(({ id }) => id))).toEqual(new Set(ids)), { timeout: 60_000, interval: 5 });
    await sentAre(first.id, other.id);
    expect(await jobs.runNow(second.id)).toBe('held');
    expect(await jobs.cancel(first.id)).toBe('changed');
    await sentAre(first.id, other.id, second.id);
    expect(transport.added.at(-1)).toMatchObject({ id: second.id, epoch: 1 });
  });

  it('refuses a sequence key that databases compare differently', async () => {
    await expect(jobs.enqueue(new Step('ä'))).rejects.toMatchObject({
      code: 'TANDEM_PAYLOAD_REFUSED',
      message: expect.stringContaining('spec.step: sequenceBy answered "order-ä"') as string,
    });
    await expect(jobs.enqueue(new Step('x'.repeat(200)))).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
    expect(await store.counts()).toEqual([]);
  });

  it.each([new Date(Number.NaN), '2030-01-01', 5])('refuses %s as a point in time', async (runAt) => {
    const refused = { code: 'TANDEM_VALIDATION', data: { violations: [{ path: 'runAt' }] } };
    await expect(jobs.enqueue(new Mail(), { runAt: runAt as Date })).rejects.toMatchObject(refused);
    await expect(jobs.reschedule('any', runAt as Date)).rejects.toMatchObject(refused);
  });

  it('queues again when the job with the dedupe key was swept just then', async () => {
    vi.spyOn(store, 'insert').mockResolvedValueOnce([]);
    const { created, id } = await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' });
    expect(created).toBe(true);
    expect((await store.list('waiting', 10)).map((job) => job.id)).toEqual([id]);
  });
});
