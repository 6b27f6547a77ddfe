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
