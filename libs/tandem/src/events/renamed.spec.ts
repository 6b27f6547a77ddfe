/** A consumer under a new name: it goes on where it was, beside older code that still runs. */
import { expect, it, vi } from 'vitest';
import { type Bank, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { CountLetter, Letter, LetterSaga, Open, Opened } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { DurableSaga } from '../write/saga/durable-saga.js';
import { On } from './on.js';

@DurableSaga('bank.post', { renamedFrom: 'bank.letters' })
class Post {
  @On(Opened)
  opened({ accountId }: Opened) {
    return new CountLetter(accountId);
  }
}

it.each(sqlBackends())('a saga that is renamed fires once for each event, before, while and after older code runs, on $name', { timeout: 60_000 }, async (backend) => {
  const place = await bankPlace(backend);
  const started: Bank[] = [];
  const start = async (...options: Parameters<typeof startBank>[1][]) => {
    for (const each of options) started.push(await startBank(place, each));
    return started.at(-1)!;
  };
  try {
    const older = await start({});
    await older.commands.execute(new Open('before'));
    await older.idle();
    const newer = await start({ providers: [Post], without: [LetterSaga] });
    for (const [i, bank] of [older, newer].entries()) await bank.commands.execute(new Open(`while-${i}`));
    const letters = () => newer.db.getRepository(Letter).find({ order: { accountId: 'ASC' } });
    const ids = ['before', 'while-0', 'while-1'];
    await vi.waitFor(async () => expect(await letters()).toEqual(ids.map((accountId) => ({ accountId, count: 1 }))), { timeout: 30_000, interval: 50 });
    await expect(startBank(place, { role: 'api' })).rejects.toMatchObject({ code: 'TANDEM_WIRING', message: expect.stringContaining('"bank.letters" was renamed to "bank.post"') });
    await newer.idle();
    expect(await letters()).toHaveLength(3);
  } finally {
    for (const { app } of started) await app.close();
    await place.remove();
  }
});
