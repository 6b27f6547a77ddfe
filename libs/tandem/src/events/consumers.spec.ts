import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Open, Opened } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { Projection } from '../read/projection/projection.js';
import { Consumers } from './consumers.js';
import { On } from './on.js';

@Projection('spec.broken', { version: 1 })
class Broken {
  static mended = false;
  static readonly seen: string[] = [];
  @On(Opened)
  opened({ accountId }: Opened): void {
    if (!Broken.mended) throw new Error(`no place for ${accountId}`);
    Broken.seen.push(accountId);
  }
}

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 40_000, interval: 50 });

describe.each(sqlBackends())('Consumers on $name', { timeout: 60_000 }, (backend) => {
  let bank: Bank;
  let place: BankPlace;
  const start = async (...[settings]: Parameters<typeof startBank>[1][]) => {
    place = await bankPlace(backend);
    bank = await startBank(place, settings);
    return bank.app.get(Consumers, { strict: false });
  };
  const of = async (consumers: Consumers, name: string) => (await consumers.status()).find(({ consumer }) => consumer === name)!;
  afterEach(async () => {
    await bank.app.close();
    await place.remove();
  });

  it('one that fails on every stream is paused with its reason; resumed, it goes on and retries what it held', async () => {
    Broken.mended = false;
    Broken.seen.length = 0;
    const consumers = await start({ providers: [Broken], consumerAttempts: 30 });
    const accounts = Array.from({ length: 40 }, (_, i) => `a${i}`);
    for (const account of accounts) await bank.commands.execute(new Open(account));
    await eventually(async () => expect((await of(consumers, 'spec.broken')).state).toBe('paused'));
    expect((await of(consumers, 'spec.broken')).reason).toMatch(/the same error on \d+ streams running: no place for a\d/);
    expect((await bank.rows("SELECT stream FROM tandem_dead_letter WHERE consumer = 'spec.broken'")).length).toBeLessThan(30);
    Broken.mended = true;
    await consumers.resume('spec.broken');
    await bank.idle();
    expect(Broken.seen.toSorted()).toEqual(accounts.toSorted());
  });

  it('pauses one until it is resumed, and knows only its own', async () => {
    const consumers = await start({});
    await consumers.pause('bank.account-view', 'moving house');
    expect(await of(consumers, 'bank.account-view')).toMatchObject({ state: 'paused', reason: 'moving house' });
    await bank.commands.execute(new Open('anna'));
    await eventually(async () => expect(await bank.rows('SELECT id FROM bank_totals')).toHaveLength(1));
    expect(await bank.rows('SELECT id FROM bank_account_view')).toEqual([]);
    await consumers.resume('bank.account-view');
    await bank.idle();
    expect(await bank.rows('SELECT id FROM bank_account_view')).toEqual([{ id: 'anna' }]);
    expect(await of(consumers, 'bank.account-view')).toMatchObject({ state: 'running', reason: null });
    await expect(consumers.pause('nobody', 'x')).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
  });
});
