/** A process begins and ends in the middle of work: it starts nothing too early, hangs nowhere, and loses nothing that it acknowledged. */
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../support/backends.js';
import { DurableJobs } from 'nest-tandem';
import { GetAccount, Open, SendLetter } from '../support/bank.js';
import { type Bank, type BankOptions, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';

/** A part of the application that takes its time to start, as one that warms a cache does. */
@Injectable()
class SlowStart implements OnModuleInit {
  static isReady = false;
  async onModuleInit(): Promise<void> {
    SlowStart.isReady = false;
    await sleep(500);
    SlowStart.isReady = true;
  }
}

/** Counts jobs that ran before the application was ready. */
@Injectable()
class NotingHandler implements OnModuleInit {
  static before = 0;
  constructor(private readonly commands: CommandBus) {}
  onModuleInit(): void {
    NotingHandler.before = 0;
    this.commands.subscribe(() => {
      if (!SlowStart.isReady) NotingHandler.before++;
    });
  }
}

const patient = { timeout: 60_000, interval: 20 };
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each(sqlBackends())('a process on $name', (backend) => {
  let place: BankPlace | undefined;
  const started: Bank[] = [];
  const start = async (options: BankOptions = {}): Promise<Bank> => {
    place ??= await bankPlace(backend);
    const bank = await startBank(place, options);
    started.push(bank);
    return bank;
  };
  const stop = (bank: Bank) => {
    started.splice(started.indexOf(bank), 1);
    return bank.app.close();
  };
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const { app } of started.splice(0)) await app.close();
    await place?.remove();
    place = undefined;
  });

  it('that is closed under load finishes what runs, and loses nothing that it acknowledged', async () => {
    const bank = await start();
    const acknowledged = new Set<string>();
    const refused = new Map<string, unknown>();
    let closing = false;
    let next = 0;
    const writer = async () => {
      while (!closing) {
        // Not far ahead of the jobs, so that there is as much of one as of the other.
        if (acknowledged.size > bank.faults.letters.length + 40) {
          await sleep(5);
          continue;
        }
        const id = `load${next++}`;
        await bank.commands.execute(new Open(id)).then(
          () => acknowledged.add(id),
          (error: unknown) => refused.set(id, error),
        );
      }
    };
    const reader = async () => {
      // Not only from the cache, which needs no turn of the event loop.
      for (let n = 0; !closing; n++) {
        await bank.queries.execute(new GetAccount(`load${n % Math.max(next, 1)}`)).catch(() => undefined);
        await nextTurn();
      }
    };
    const lanes = [...numbers(4).map(writer), ...numbers(2).map(reader)];
    // Batches and jobs are at work as well.
    await vi.waitFor(() => expect([acknowledged.size >= 40, bank.faults.letters.length >= 5]).toEqual([true, true]), patient);
    closing = true;
    await stop(bank);
    await Promise.all(lanes);
    expect([...refused]).toEqual([]);

    const after = await start();
    await after.idle(60_000);
    const opened = new Set((await after.rows<{ id: string }>('SELECT id FROM bank_account')).map(({ id }) => id));
    expect(opened).toEqual(acknowledged);
    const read = (await after.rows<{ id: string }>('SELECT id FROM bank_account_view')).map(({ id }) => id);
    expect(new Set(read)).toEqual(opened);
    const counted = await after.rows<{ accountId: string; count: number }>('SELECT * FROM bank_letter');
    expect(counted.map(({ count }) => count)).toEqual([...opened].map(() => 1));
    const lettered = new Set([bank, after].flatMap(({ faults }) => faults.letters.map(({ accountId }) => accountId)));
    expect(lettered).toEqual(opened);
  });

  it('takes no job and no event before all of it has started', async () => {
    const api = await start({ role: 'api' });
    for (const n of numbers(10)) {
      await api.commands.execute(new Open(`early${n}`));
      await api.app.get(DurableJobs).enqueue(new SendLetter(`early${n}`));
    }
    if (backend.name === 'pglite') await stop(api); // one process at a time
    const worker = await start({ role: backend.name === 'pglite' ? 'all' : 'worker', providers: [SlowStart, NotingHandler], without: [] });
    await worker.idle(60_000);
    expect(NotingHandler.before).toBe(0);
    const attempts = await worker.rows<{ attempts: number }>('SELECT attempts FROM tandem_job');
    expect(attempts.map((job) => job.attempts)).toEqual(numbers(30).map(() => 1));
    expect(worker.faults.letters).toHaveLength(20);
  });
});
