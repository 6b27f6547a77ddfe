/** Jobs for the queue of an application that knows nothing of Tandem: a plain BullMQ worker takes them. */
import { createPostgresBackend, type Job, Worker } from 'bullmq';
import { DurableJobs, DurableSaga, ExternalJob, JobStore, On, UnitOfWorkRunner } from 'nest-tandem';
import pg from 'pg';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { LetterSaga, Open, Opened } from '../support/bank.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { OwnRedis } from '../support/own-redis.js';

const eventually = { timeout: 60_000, interval: 20 };
const THEIR_QUEUE = 'Printer';

@DurableSaga('spec.printing')
class Printing {
  @On(Opened)
  opened({ accountId }: Opened) {
    return new ExternalJob(THEIR_QUEUE, 'welcome letter', { accountId, copies: 2 }, { prefix: 'theirs', attempts: 3 });
  }
}

interface Printed {
  readonly id: string;
  readonly name: string;
  readonly data: unknown;
}

/** Nothing of ours but the address. */
function printer(place: BankPlace, printed: Printed[]): { close(): Promise<void> } {
  const print = async ({ id, name, data }: Job) => void printed.push({ id: id!, name, data });
  if (place.redisUrl !== undefined) return new Worker(THEIR_QUEUE, print, { connection: { url: place.redisUrl, maxRetriesPerRequest: null }, prefix: 'theirs' });
  const pool = new pg.Pool({ connectionString: place.database!.url, options: '-c search_path=bullmq' });
  const worker = new Worker(THEIR_QUEUE, print, { connection: pool }, createPostgresBackend);
  return { close: () => worker.close().then(() => pool.end()) };
}

describeServers('external jobs on $name', sqlServers(), (backend) => {
  let place: BankPlace;
  let redis: OwnRedis | undefined;
  let bank: Bank;
  let printed: Printed[];
  let worker: { close(): Promise<void> } | undefined;

  beforeEach(async () => {
    place = await bankPlace(backend);
    if (place.redisUrl !== undefined && OwnRedis.available) {
      redis = await OwnRedis.planned();
      await redis.start();
      place = { ...place, redisUrl: redis.url };
    }
    printed = [];
    bank = await startBank(place, { providers: [Printing], without: [LetterSaga], jobLeaseMs: 1_000 });
  });
  afterEach(async () => {
    await worker?.close();
    await bank.app.close();
    await place.remove();
    await redis?.kill();
    [worker, redis] = [undefined, undefined];
    vi.restoreAllMocks();
  });
  const rows = () => bank.rows<{ id: string; name: string; state: string }>('SELECT id, name, state FROM tandem_job ORDER BY created_at');

  it('come from a saga and from a unit of work that commits, with the id of their rows', async () => {
    worker = printer(place, printed);
    const jobs = bank.app.get(DurableJobs);
    await bank.commands.execute(new Open('a'));
    await bank.idle(60_000);
    const { id, created } = await jobs.enqueue(new ExternalJob(THEIR_QUEUE, 'invoice', [1, null, 'ü'], { prefix: 'theirs' }), { dedupeKey: 'invoice-1' });
    expect([created, await jobs.enqueue(new ExternalJob(THEIR_QUEUE, 'invoice', 2), { dedupeKey: 'invoice-1' })]).toEqual([true, { id, created: false }]);
    const regrets = bank.app.get(UnitOfWorkRunner).run(async () => {
      await jobs.enqueue(new ExternalJob(THEIR_QUEUE, 'never', {}, { prefix: 'theirs' }));
      throw new Error('changed its mind');
    });
    await expect(regrets).rejects.toThrow('changed its mind');
    await bank.idle(60_000);
    await vi.waitFor(() => expect(printed).toHaveLength(2), eventually);
    const [first, second] = await rows();
    expect(printed).toEqual([
      { id: first!.id, name: 'welcome letter', data: { accountId: 'a', copies: 2 } },
      { id, name: 'invoice', data: [1, null, 'ü'] },
    ]);
    expect([first, second]).toMatchObject([
      { name: 'external:Printer', state: 'done' },
      { id, state: 'done' },
    ]);
  });

  it('are one job there, although the process died between their acceptance and its note', async () => {
    const store = bank.app.get(JobStore);
    const handedOver = vi.spyOn(store, 'complete').mockRejectedValueOnce(new Error('killed')).mockRejectedValueOnce(new Error('killed'));
    const { id } = await bank.app.get(DurableJobs).enqueue(new ExternalJob(THEIR_QUEUE, 'invoice', {}, { prefix: 'theirs' }));
    await bank.idle(60_000);
    expect(handedOver).toHaveBeenCalledTimes(3);
    worker = printer(place, printed);
    await vi.waitFor(() => expect(printed.map((job) => job.id)).toEqual([id]), eventually);
    await bank.app.get(DurableJobs).enqueue(new ExternalJob(THEIR_QUEUE, 'last', {}, { prefix: 'theirs' }));
    await vi.waitFor(() => expect(printed.at(-1)?.name).toBe('last'), eventually);
    expect(printed).toHaveLength(2);
  });

  it('wait in SQL while the queue is away, and no attempt is lost', async ({ skip }) => {
    if (!redis) return skip();
    await redis.kill();
    for (let i = 0; i < 10; i++) await bank.app.get(DurableJobs).enqueue(new ExternalJob(THEIR_QUEUE, `page ${i}`, {}, { prefix: 'theirs' }));
    await vi.waitFor(async () => expect(await bank.rows('SELECT id FROM tandem_job WHERE last_error IS NOT NULL')).not.toEqual([]), eventually);
    await redis.start();
    worker = printer(place, printed);
    await vi.waitFor(() => expect(new Set(printed.map(({ name }) => name)).size).toBe(10), eventually);
    await bank.idle(60_000);
    expect(await bank.rows<{ state: string }>('SELECT DISTINCT state FROM tandem_job WHERE attempts = 1')).toEqual([{ state: 'done' }]);
    expect(await bank.rows('SELECT id FROM tandem_job WHERE attempts > 1')).toEqual([]);
  });
});
