import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../test/support/tandem-database.js';
import { SqlJobStore } from '../adapters/typeorm/sql-job-store.js';
import { DurableJobs } from './durable-jobs.js';
import { JobOutbox } from './job-outbox.js';
import { type JobTicket } from './job-store.js';
import { JobTransport } from './job-transport.js';
import { QueuedCommand } from './queued-command.js';

@QueuedCommand('spec.mail', { queue: 'spec', effect: 'external' })
class Mail {}

class ListedTransport extends JobTransport {
  readonly added: JobTicket[] = [];
  override add = (tickets: readonly JobTicket[]) => Promise.resolve(void this.added.push(...tickets));
  override work = () => Promise.resolve();
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
    jobs = new DurableJobs(db.units, new JobOutbox(store, transport), store);
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

  it('sends a parked job again, its attempts counted anew', async () => {
    const { id, epoch, queue } = await parked();
    expect(await jobs.retry(id)).toBe(true);
    expect(transport.added.at(-1)).toEqual({ id, epoch, queue });
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
    const refused = { code: 'TANDEM_WIRING', message: expect.stringContaining('there is no option `runAt` of DurableJobs.enqueue') as string };
    await expect(jobs.enqueue(new Mail(), { runAt: new Date() } as object)).rejects.toMatchObject(refused);
    expect(await store.list('waiting', 10)).toEqual([]);
  });

  it('queues again when the job with the dedupe key was swept just then', async () => {
    vi.spyOn(store, 'insert').mockResolvedValueOnce([]);
    const { created, id } = await jobs.enqueue(new Mail(), { dedupeKey: 'order-1' });
    expect(created).toBe(true);
    expect((await store.list('waiting', 10)).map((job) => job.id)).toEqual([id]);
  });
});
