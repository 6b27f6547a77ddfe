/** A queue that is longer than BullMQ may hold: the rest stays in SQL, and follows as room is made. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandHandler } from '@nestjs/cqrs';
import { DurableJobs, JobTransport, QueuedCommand, UnitOfWorkRunner } from 'nest-tandem';
import { afterEach, describe, expect, it } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { CountLetter, CountLetterHandler, Letter } from '../support/bank.js';
import { sqlBackends } from '../support/backends.js';

const MOST = 40;

@QueuedCommand('spec.count-together', { queue: 'counting-together', effect: 'sql', batchSize: 3 })
class CountTogether extends CountLetter {}

@CommandHandler(CountTogether)
class CountTogetherHandler extends CountLetterHandler {}

describe.each(sqlBackends())('a deep queue on $name', { timeout: 120_000 }, (backend) => {
  /** PGlite carries the queue as well, one statement at a time. */
  const JOBS = backend.name === 'pglite' ? 150 : 500;
  let place: BankPlace;
  const banks: Bank[] = [];
  const start = async (role: 'api' | 'worker'): Promise<Bank> => {
    const bank = await startBank(place, { role, maxQueuedTickets: MOST, reconcileEveryMs: 100, providers: [CountTogetherHandler] });
    banks.push(bank);
    return bank;
  };
  afterEach(async () => {
    for (const { app } of banks.splice(0)) await app.close();
    await place.remove();
  });

  const cases = [
    { what: 'every job', queue: 'counting', Count: CountLetter },
    { what: 'every job of those that run together', queue: 'counting-together', Count: CountTogether },
  ];
  it.each(cases)('never has more in BullMQ than it may hold, and $what runs once', async ({ Count, queue }) => {
    place = await bankPlace(backend);
    const api = await start('api');
    const jobs = api.app.get(DurableJobs);
    const queued = () => api.app.get(JobTransport).queued(queue);
    for (let from = 0; from < JOBS; from += 50) {
      await api.app.get(UnitOfWorkRunner).run(async () => {
        for (let i = from; i < from + 50; i++) await jobs.enqueue(new Count(`account-${i}`));
      });
      expect(await queued()).toBeLessThanOrEqual(MOST);
    }

    const worker = await start('worker');
    let most = 0;
    const idle = worker.idle(100_000);
    let isIdle = false;
    void idle.finally(() => (isIdle = true)).catch(() => undefined);
    while (!isIdle) {
      most = Math.max(most, await queued());
      await sleep(5);
    }
    await idle;
    expect(most).toBeLessThanOrEqual(MOST);
    expect(most).toBeGreaterThan(MOST / 8);
    expect(await worker.db.getRepository(Letter).countBy({ count: 1 })).toBe(JOBS);
    expect(await queued()).toBe(0);
  });
});
