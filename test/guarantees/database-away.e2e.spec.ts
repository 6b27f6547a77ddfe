/** The database is away when a process starts, or goes away later: that is told, nobody hangs, and all goes on when it is back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { CutOff } from '../e2e/cut-off.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { GetAccount, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

describeServers('a database that is away, $name', sqlServers(), (backend) => {
  let place: BankPlace;
  let way: CutOff;
  let bank: Bank | undefined;
  const begin = async () => {
    const real = await bankPlace(backend);
    const through = await CutOff.on(real.database!.url);
    way = through.way;
    place = { ...real, database: { ...real.database!, url: through.url, dataSourceOptions: { ...real.database!.dataSourceOptions, url: through.url } as never } };
  };
  afterEach(async () => {
    way.mend();
    await bank?.app.close();
    bank = undefined;
    way.close();
    await place.remove();
  });

  it('refuses the start with one typed error that names the address and no secret', async () => {
    await begin();
    way.cut();
    const refused = startBank(place, { typeOrm: { retryAttempts: 1 } });
    await expect(refused).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    await expect(refused).rejects.toThrow(`The database at ${new URL(place.database!.url).host} does not answer`);
  });

  it('is waited for at start as long as TypeOrmModule is told to', async () => {
    await begin();
    way.cut();
    const starting = startBank(place, { typeOrm: { retryAttempts: 200, retryDelay: 100 } });
    await sleep(300); // some tries that fail
    way.mend();
    bank = await starting;
    await bank.commands.execute(new Open('late'));
    await bank.idle(60_000);
  });

  it('that goes away later is told to commands and queries, and all goes on by itself when it is back', async () => {
    await begin();
    bank = await startBank(place);
    await bank.commands.execute(new Open('before'));
    await bank.idle(60_000);
    way.cut();
    for (const round of numbers(3)) {
      await expect(bank.commands.execute(new Open(`during${round}`))).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
      await expect(bank.queries.execute(new GetAccount(`during${round}`))).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
    }
    way.mend();
    await bank.commands.execute(new Open('after'));
    await bank.idle(60_000);
    expect((await bank.rows<{ id: string }>('SELECT id FROM bank_account_view ORDER BY id')).map(({ id }) => id)).toEqual(['after', 'before']);
    expect(bank.faults.letters.map(({ accountId }) => accountId)).toEqual(['before', 'after']);
  });
});
