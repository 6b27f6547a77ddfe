/**
 * An API and two workers on MariaDB and Redis are killed and stopped at random, and Redis is wiped, while invoices come in over
 * HTTP. Nothing may be lost or counted twice.
 *
 * `TANDEM_TEST_INVOICES` names an invoice file to bring instead of a made-up one, `TANDEM_MISHAPS_SEED` repeats which mishaps come in
 * which order.
 */
import { readdir, readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { Dice, seedOf } from '../support/dice.js';
import { OwnRedis } from '../support/own-redis.js';
import { foldOfTheLog, readRows } from './fold-of-the-log.js';
import { accountsOf, documentsOf, entryOf } from './invoice-accounts.js';
import { invoiceFile } from './invoices.js';
import { mishaps } from './mishaps.js';
import { postInvoices } from './post-invoices.js';
import { ShopFleet } from './shop-fleet.js';

const LINES = 2_000;
const PATIENCE = 600_000;
/** For a file of somebody's own, which may be long. */
const LONG_PATIENCE = 3_600_000;
const TELL_EVERY = 1_000;
const GIVEN = process.env.TANDEM_TEST_INVOICES;
const say = (text: string) => void process.stderr.write(`mishaps: ${text}\n`);

const made = () => invoiceFile(20_111_209, LINES);

it('the accounts worked out from the text of an invoice file are those that its lines were made for', () => {
  const file = made();
  const documents = documentsOf(file.text);
  expect(documents).toHaveLength(file.documents);
  expect(accountsOf(documents.map(entryOf))).toEqual({ byCountry: file.byCountry, byCustomer: file.byCustomer });
});

const stage = OwnRedis.available ? sqlServers().filter(({ name }) => name === 'mariadb') : [];

describeServers('API and two workers on $name and Redis', stage, () => {
  it(
    'killed, stopped and with Redis wiped while invoices come in, they lose nothing and count nothing twice',
    async () => {
      const seed = seedOf('TANDEM_MISHAPS_SEED');
      const documents = documentsOf(GIVEN ? await readFile(GIVEN, 'utf8') : made().text);
      const start = Date.now();
      const seconds = () => `${((Date.now() - start) / 1_000).toFixed(0)} s`;
      say(`seed ${seed}, ${documents.length} invoices`);
      const fleet = await ShopFleet.open();
      try {
        const posting = { done: false };
        const onAcknowledged = (count: number) => count % TELL_EVERY === 0 && say(`${count} acknowledged after ${seconds()}`);
        const posted = postInvoices(fleet.origin, documents, { onAcknowledged }).finally(() => (posting.done = true));
        const [again, counts] = await Promise.all([posted, mishaps(fleet, new Dice(seed), () => posting.done)]);
        say(`all acknowledged after ${seconds()}, ${again} sent again; ${JSON.stringify(counts)}`);
        await fleet.settled();
        say(`read after ${seconds()}`);

        const expected = accountsOf(documents.map(entryOf));
        const { byCountry, byCustomer, events, views } = await foldOfTheLog(fleet.source);
        expect(events).toBe(documents.length);
        expect({ byCountry, byCustomer }).toEqual(expected);
        expect(await readRows(fleet.source)).toEqual({ byCountry, byCustomer, views });
        const mailed = documents.filter(({ kind, customerId }) => kind === 'order' && customerId !== null);
        expect(await fleet.source.query('SELECT name, state, COUNT(*) AS n FROM tandem_job GROUP BY name, state')).toEqual([
          { name: 'orders.send-confirmation', state: 'done', n: String(mailed.length) },
        ]);
        // A mail that was sent twice took the place of the first.
        expect((await readdir(fleet.outbox)).filter((file) => file.endsWith('.eml'))).toHaveLength(mailed.length);
      } finally {
        await fleet.end();
      }
    },
    GIVEN ? LONG_PATIENCE : PATIENCE,
  );
});
