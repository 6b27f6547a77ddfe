import { Logger } from '@nestjs/common';
import { afterEach, expect, it, describe, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { AccountView, Charge, Open } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { DeadLetters } from './dead-letters.js';
import { DeadLetterStore } from './dead-letter-store.js';
import { ConsumerRuntime } from './consumer-runtime.js';
import { MemoryLog } from './memory-log.fixture.js';

describe('the retry of a held stream', () => {
  it('leaves an event discarded that an operator has discarded while it failed', async () => {
    const log = new MemoryLog();
    const consumer = log.consumer('park', 1);
    const [{ eventId }] = [log.append(1), log.append(1)];
    log.faults.set(eventId, { kind: 'named', times: Number.POSITIVE_INFINITY });
    await log.runBatch(consumer);
    const { units } = log.ports;
    const run = units.run.bind(units);
    let runs = 0;
    units.run = (work, options) => {
      // The operator waited for the lock of the checkpoint.
      if (++runs === 2) for (const [key, letter] of log.letters) log.letters.set(key, { ...letter, state: 'discarded', due: true });
      return run(work, options);
    };
    await log.retry.run(consumer, [...log.letters.values()][0]!);
    expect([log.rows.get('memory-1'), log.letters.size]).toEqual([[2], 0]);
  });
});

const patient = { timeout: 30_000, interval: 20 };

describe.each(sqlBackends())('the retry of a held stream on $name', (backend) => {
  let place: BankPlace;
  let bank: Bank;
  afterEach(async () => {
    vi.restoreAllMocks();
    await bank?.app.close();
    await place.remove();
  });

  it('leaves the stream to newer code when an event behind the failed one is of a newer schema, and says so once', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { consumerBackoffMs: 60_000 });
    const letters = bank.app.get(DeadLetters);
    bank.faults.poisonedView.add('held');
    for (const command of [new Open('held'), new Charge('held', '1'), new Charge('held', '2')]) await bank.commands.execute(command);
    await vi.waitFor(async () => expect(await letters.list()).toHaveLength(1), patient);
    await bank.app.get(ConsumerRuntime).catchUp(bank.app.get(ConsumerRegistry).named('bank.account-view'));
    await bank.db.query("UPDATE tandem_event SET schema_version = 2 WHERE stream = 'account-held' AND version = 3");
    bank.faults.poisonedView.clear();

    const lines = (['error', 'warn'] as const).map((level) => vi.spyOn(Logger.prototype, level).mockReturnValue(undefined));
    // The other consumers may meet the event too.
    const said = () => lines.flatMap(({ mock }) => mock.calls.map(([line]) => line as string)).filter((line) => line.startsWith('bank.account-view'));
    const looks = vi.spyOn(bank.app.get(DeadLetterStore), 'held');
    await letters.retry({ consumer: 'bank.account-view' });
    await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(2), patient); // it is tried more than once
    expect(said()).toEqual([expect.stringContaining('bank.account-view met bank.charged of version 2, its code knows 1')]);
    expect(await letters.list()).toMatchObject([{ stream: 'account-held', attempts: 0 }]);

    await bank.db.query("UPDATE tandem_event SET schema_version = 1 WHERE stream = 'account-held'");
    await bank.idle();
    expect(await bank.db.getRepository(AccountView).findOneByOrFail({ id: 'held' })).toMatchObject({ charges: 2, lastVersion: 3 });
  });
});
