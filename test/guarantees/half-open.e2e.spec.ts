/** The way to the database swallows everything and tells nobody: nobody hangs, what was acknowledged is there, and all goes on by itself. */
import { afterEach, expect, it, vi } from 'vitest';
import { isTandemError } from 'nest-tandem';
import { CutOff } from '../e2e/cut-off.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { GetAccount, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { BankTraffic, patient, RETRYABLE } from '../support/bank-traffic.js';

const POOLS = { commandPoolSize: 4, queryPoolSize: 2, workerPoolSize: 4, acquireTimeoutMs: 1_000, answerTimeoutMs: 1_000 };

describeServers('a way to $name that is half open', sqlServers(), (backend) => {
  let place: BankPlace;
  let way: CutOff;
  let bank: Bank | undefined;
  const begin = async () => {
    const real = await bankPlace(backend);
    const through = await CutOff.on(real.database!.url);
    way = through.way;
    place = { ...real, database: { ...real.database!, url: through.url, dataSourceOptions: { ...real.database!.dataSourceOptions, url: through.url } as never } };
    bank = await startBank(place, { pools: POOLS });
    return bank;
  };
  afterEach(async () => {
    way.mend();
    await bank?.app.close();
    bank = undefined;
    way.close();
    await place.remove();
  });

  it('commands and queries end with an error that may be retried, and work when new connections go through', async () => {
    const { commands, queries, idle, rows } = await begin();
    await commands.execute(new Open('before'));
    await idle(60_000);
    way.silence();
    for (let round = 0; round < 3; round++) {
      const error = await commands.execute(new Open(`during${round}`)).catch((reason: unknown) => reason);
      expect(isTandemError(error) ? error.code : error).toBeOneOf(RETRYABLE);
      const noRow = await queries.execute(new GetAccount(`during${round}`)).catch((reason: unknown) => reason);
      expect(isTandemError(noRow) ? noRow.code : noRow).toBeOneOf(RETRYABLE);
    }
    way.mend();
    // Of the connections that fell silent there may be more than have been asked something.
    await expect.poll(() => commands.execute(new Open('after')).then(() => 'done', String), { timeout: 60_000 }).toBe('done');
    await expect.poll(() => idle(60_000).then(() => 'idle', String), { timeout: 60_000 }).toBe('idle');
    const ids = await vi.waitFor(() => rows<{ id: string }>('SELECT id FROM bank_account_view ORDER BY id'), patient);
    expect(ids.map(({ id }) => id)).toEqual(['after', 'before']);
  });

  it('in the middle of the traffic: what was acknowledged is there, the rest is there as a whole or not at all, and nothing is counted twice', async () => {
    const traffic = new BankTraffic(await begin());
    for (let round = 1; round <= 2; round++) {
      await traffic.goesOn();
      way.silence();
      await traffic.fails();
      way.mend();
    }
    await traffic.goesOn();
    await traffic.isWhole();
  });
});
