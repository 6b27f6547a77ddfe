import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { AccountView, Charge, Open } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { Consumers } from './consumers.js';
import { DeadLetters } from './dead-letters.js';

const patient = { timeout: 30_000, interval: 20 };
const consumer = 'bank.account-view';

describe.each(sqlBackends())('dead letters on $name', (backend) => {
  let place: BankPlace;
  let bank: Bank;
  let letters: DeadLetters;
  const view = (id: string) => bank.db.getRepository(AccountView).findOneByOrFail({ id });

  beforeAll(async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { consumerAttempts: 1 });
    letters = bank.app.get(DeadLetters);
  });
  afterAll(async () => {
    await bank?.app.close();
    await place?.remove();
  });

  const park = async (...accounts: string[]): Promise<void> => {
    for (const id of accounts) {
      bank.faults.poisonedView.add(id);
      for (const command of [new Open(id), new Charge(id, '1.0000'), new Charge(id, '2.0000')]) await bank.commands.execute(command);
    }
    await vi.waitFor(async () => expect((await letters.list({ consumer })).map(({ state }) => state)).toEqual(accounts.map(() => 'parked')), patient);
  };

  it('are inspected with the event as it stands in the log and how many wait behind it, and then retried', async () => {
    await park('seen');
    const inspected = await letters.inspect({ consumer, stream: 'account-seen' });
    expect(inspected).toMatchObject({
      letter: { state: 'parked', attempts: 1, error: expect.stringContaining('poisoned seen') as string },
      metadata: { type: 'bank.charged', stream: 'account-seen', version: 2 },
      schemaVersion: 1,
      waiting: 1,
    });
    expect(JSON.parse(inspected!.payload)).toMatchObject({ accountId: 'seen', amount: '1.0000' });
    expect(await letters.inspect({ consumer, stream: 'account-nobody' })).toBeUndefined();
    await expect(letters.inspect({ consumer: 'bank.nothing', stream: 'account-seen' })).rejects.toMatchObject({ code: 'TANDEM_WIRING' });

    bank.faults.poisonedView.clear();
    expect(await letters.retry({ consumer, stream: 'account-seen' })).toBe(1);
    await bank.idle();
    expect(await view('seen')).toMatchObject({ charges: 2, lastVersion: 3 });
    expect(await letters.inspect({ consumer, stream: 'account-seen' })).toBeUndefined();
  });

  it('are retried all at once', async () => {
    const accounts = Array.from({ length: 4 }, (_, n) => `all${n}`);
    await park(...accounts);
    bank.faults.poisonedView.clear();
    expect(await letters.retry({ consumer })).toBe(accounts.length);
    await bank.idle();
    for (const id of accounts) expect(await view(id)).toMatchObject({ charges: 2, lastVersion: 3 });
    expect((await bank.app.get(Consumers).status()).find((each) => each.consumer === consumer)).toMatchObject({ state: 'running', lag: 0 });
  });
});
