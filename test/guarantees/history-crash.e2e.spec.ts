/** The process that imports history is killed beside the statements that commit a chunk; run again, the import ends with each event once. */
import { once } from 'node:events';
import { HistoryImport } from 'nest-tandem';
import { afterEach, expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import type { KillAt } from '../support/bank-child.js';
import { forkBank } from '../support/fork-bank.js';
import { legacyAccounts } from '../support/legacy-accounts.js';

vi.setConfig({ testTimeout: 120_000 });
const ACCOUNTS = 100;
const OF_A_CHUNK = 20;

/** Each beside the commit of the third chunk. An immediate projection folds each chunk, so COMMIT is a statement of its own. */
const APPEND = 'INSERT INTO tandem_event';
const MOMENTS: Readonly<Record<string, KillAt & { readonly chunks: number }>> = {
  'before its events are sent': { when: 'before', statement: APPEND, skip: 2, chunks: 2 },
  'before COMMIT': { when: 'before', statement: '^COMMIT', since: APPEND, skip: 2, chunks: 2 },
  'after COMMIT': { when: 'after', statement: '^COMMIT', since: APPEND, skip: 2, chunks: 3 },
};

describeServers('an import of history that is killed on $name', sqlServers(), (backend) => {
  let place: BankPlace;
  let bank: Bank | undefined;
  afterEach(async () => {
    await bank?.app.close();
    await place.remove();
  });

  it.each(Object.entries(MOMENTS))('%s', async (_, { chunks, ...kill }) => {
    place = await bankPlace(backend);
    const { child, said } = forkBank(place, { settings: { role: 'api' }, legacy: ACCOUNTS, kill });
    const [, signal] = (await once(child, 'exit')) as [unknown, string | null];
    expect(signal, said()).toBe('SIGKILL');

    bank = await startBank(place, {});
    const events = async () => (await bank!.rows<{ n: number | string }>('SELECT COUNT(*) AS n FROM tandem_event')).map(({ n }) => Number(n))[0];
    await vi.waitFor(async () => expect(await events()).toBe(chunks * OF_A_CHUNK), 20_000);
    const counts = await bank.app.get(HistoryImport).run(legacyAccounts(ACCOUNTS));
    expect(counts).toEqual({ imported: 2 * ACCOUNTS - chunks * OF_A_CHUNK, skipped: chunks * OF_A_CHUNK });
    expect(await events()).toBe(2 * ACCOUNTS);
    expect(await bank.rows('SELECT stream FROM tandem_event GROUP BY stream HAVING COUNT(*) <> 2 OR MAX(version) <> 2')).toEqual([]);
    await bank.idle();
    expect(await bank.rows('SELECT status, charges FROM bank_account_view GROUP BY status, charges')).toEqual([{ status: 'open', charges: 1 }]);
    expect(await bank.rows('SELECT id FROM bank_account_view')).toHaveLength(ACCOUNTS);
    // History fires no saga.
    expect(await bank.rows('SELECT id FROM tandem_job')).toEqual([]);
  });
});
