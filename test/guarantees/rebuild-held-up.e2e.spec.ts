/** MySQL's RENAME commits by itself: what follows it may fail while its process lives on, and the old generation must not go on with the new one's rows. */
import mysql from 'mysql2';
import { afterEach, expect, it, vi } from 'vitest';
import { Projections } from 'nest-tandem';
import { Charge, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { describeServers, sqlServers } from '../support/backends.js';

vi.setConfig({ testTimeout: 300_000 });
const MAKE_LIVE = 'UPDATE tandem_consumer SET live_generation';
/** After RENAME the old generation never goes on. */
const RESUME = "UPDATE tandem_rebuild SET state = 'filling'";
const FAILURES = 3;

type Query = (options: string | { readonly sql: string }, ...rest: unknown[]) => unknown;
const connection = (mysql as unknown as { Connection: { prototype: { query: Query } } }).Connection.prototype;

describeServers(
  'a swap on $name whose new rows cannot be made live at once',
  sqlServers().filter(({ dialect }) => dialect === 'mysql'),
  (backend) => {
    const { query } = connection;
    let place: BankPlace;
    let bank: Bank;
    afterEach(async () => {
      connection.query = query;
      await bank.app.close();
      await place.remove();
    });

    it('waits, and applies no event twice', async () => {
      place = await bankPlace(backend);
      bank = await startBank(place, { batchSize: 20 });
      await bank.commands.execute(new Open('a'));
      let failed = 0;
      let resumed = 0;
      connection.query = function (this: unknown, options, ...rest) {
        const text = typeof options === 'string' ? options : options.sql;
        if (failed > 0 && text.includes(RESUME)) resumed++;
        if (!text.includes(MAKE_LIVE) || failed === FAILURES) return query.call(this, options, ...rest);
        failed++;
        const refused = Object.assign(new Error('Disk full'), { errno: 1021, code: 'ER_DISK_FULL' });
        return void setImmediate(() => (rest.at(-1) as (error: Error) => void)(refused));
      };
      let charges = 0;
      let rebuilt = false;
      const rebuild = bank.app
        .get(Projections)
        .rebuild('bank.account-view')
        .finally(() => (rebuilt = true));
      for (; !rebuilt; charges++) await bank.commands.execute(new Charge('a', '1'));
      expect(await rebuild).toMatchObject({ generation: 2 });
      await bank.idle(120_000);
      expect({ failed, resumed }).toEqual({ failed: FAILURES, resumed: 0 });
      expect(await bank.rows('SELECT charges, lastVersion FROM bank_account_view')).toEqual([{ charges, lastVersion: charges + 1 }]);
    });
  },
);
