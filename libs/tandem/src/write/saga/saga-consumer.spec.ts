import { afterEach, describe, expect, it } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../../test/support/bank-application.js';
import { CountLetter, Letter, Open, Opened } from '../../../../../test/support/bank.js';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { On } from '../../events/on.js';
import { DurableSaga } from './durable-saga.js';

class LettersToAll {
  @On(Opened)
  opened({ accountId }: Opened): CountLetter {
    return new CountLetter(`base-${accountId}`);
  }
}

@DurableSaga('spec.derived')
class LettersToSome extends LettersToAll {
  @On(Opened)
  override opened({ accountId }: Opened): CountLetter {
    return new CountLetter(`derived-${accountId}`);
  }
}

describe.each(sqlBackends())('a durable saga on $name', { timeout: 60_000 }, (backend) => {
  let place: BankPlace;
  let bank: Bank;
  afterEach(async () => {
    await bank.app.close();
    await place.remove();
  });

  it('creates one job for an event whose method it has overridden and marked again', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [LettersToSome] });
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    expect(await bank.rows("SELECT name FROM tandem_job WHERE dedupe_key LIKE 'spec.derived:%'")).toEqual([{ name: 'bank.count-letter' }]);
    expect(await bank.db.getRepository(Letter).find({ order: { accountId: 'ASC' } })).toEqual([
      { accountId: 'a', count: 1 },
      { accountId: 'derived-a', count: 1 },
    ]);
  });
});
