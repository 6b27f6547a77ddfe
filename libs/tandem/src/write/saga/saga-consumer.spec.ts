import { Logger } from '@nestjs/common';
import { Command } from '@nestjs/cqrs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../../test/support/bank-application.js';
import { CountLetter, Letter, Open, Opened } from '../../../../../test/support/bank.js';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { On } from '../../events/on.js';
import { QueuedCommand } from '../../jobs/queued-command.js';
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

@QueuedCommand('spec.nobodys', { queue: 'nobodys', effect: 'sql' })
class Nobodys extends Command<void> {}

@DurableSaga('spec.to-nobody')
class LettersToNobody {
  @On(Opened)
  opened(_event: Opened) {
    return [new Nobodys()];
  }
}

describe.each(sqlBackends())('a durable saga on $name', { timeout: 60_000 }, (backend) => {
  let place: BankPlace;
  let bank: Bank;
  afterEach(async () => {
    await bank.app.close();
    await place.remove();
  });

  it('says once that it returned a command which nothing here handles', async () => {
    const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [LettersToNobody] });
    for (const id of ['a', 'b']) await bank.commands.execute(new Open(id));
    await vi.waitFor(async () => expect(await bank.rows("SELECT state FROM tandem_job WHERE name = 'spec.nobodys'")).toHaveLength(2), { timeout: 20_000, interval: 20 });
    const lines = warned.mock.calls.map(([line]) => String(line)).filter((line) => line.includes('spec.nobodys'));
    warned.mockRestore();
    expect(lines).toEqual(['"spec.nobodys" is queued, but no module here provides a handler for it: it waits in queue "nobodys" until a worker that has one takes it']);
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
