/** Rebuilds on real databases: under traffic, joined, cancelled, blocked, refused. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Projections, type RebuildProgress } from 'nest-tandem';
import { afterEach, describe, expect, it } from 'vitest';
import { Charge, GetAccount, GetDirectory, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { sqlBackends } from '../support/backends.js';
import { inLanes } from '../support/in-lanes.js';

/** So long a command waits for a swap before it commits without its fold. */
const SWAP_WAIT_MS = 500;

const ids = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe.each(sqlBackends())('a rebuild on $name', (backend) => {
  const started: Bank[] = [];
  let place: BankPlace;
  afterEach(async () => {
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await place.remove();
  });
  const start = async (...options: Parameters<typeof startBank>[1][]) => {
    place = await bankPlace(backend);
    for (const settings of options) started.push(await startBank(place, { batchSize: 50, ...settings }));
    return started as [Bank, ...Bank[]];
  };
  const tables = async (bank: Bank): Promise<string[]> => {
    const schema = backend.dialect === 'mysql' ? 'DATABASE()' : 'CURRENT_SCHEMA()';
    const rows = await bank.rows<{ name: string }>(`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ${schema} AND table_name LIKE 'bank%'`);
    return rows.map(({ name }) => name).sort();
  };

  it('makes wrong rows right, is the next generation, and leaves nothing behind', async () => {
    const [bank] = await start({});
    await inLanes(ids('made', 20), 4, async (id) => {
      await bank.commands.execute(new Open(id));
      await bank.commands.execute(new Charge(id, '2.5000'));
    });
    await bank.idle();
    const before = await tables(bank);
    const right = await bank.rows('SELECT * FROM bank_account_view ORDER BY id');
    await bank.db.query("UPDATE bank_account_view SET charged = 99, status = 'wrong'");
    await bank.db.query("DELETE FROM bank_account_view WHERE id = 'made3'");
    await bank.db.query('UPDATE bank_totals SET charges = 7');
    const projections = bank.app.get(Projections);

    const told: RebuildProgress[] = [];
    const result = await projections.rebuild('bank.account-view', { onProgress: (progress) => told.push(progress) });
    await projections.rebuild('bank.totals');

    expect(result).toMatchObject({ generation: 2, events: 40 });
    expect(told[0]).toMatchObject({ generation: 2, version: 1, total: 40, deadLetters: 0 });
    expect(await bank.rows('SELECT * FROM bank_account_view ORDER BY id')).toEqual(right);
    expect((await bank.rows<{ charges: number }>('SELECT charges FROM bank_totals'))[0]!.charges).toBe(20);
    expect(await tables(bank)).toEqual(before);
    expect(await bank.rows("SELECT DISTINCT generation FROM tandem_checkpoint WHERE consumer = 'bank.totals'")).toEqual([{ generation: 2 }]);
    expect(await bank.rows('SELECT * FROM tandem_rebuild')).toEqual([]);
    expect(await projections.status('bank.totals')).toMatchObject({ generation: 2, state: 'running', lagEvents: 0, lagSeconds: 0, rebuild: null });

    await bank.commands.execute(new Charge('made3', '1.0000'));
    await bank.idle();
    expect(await bank.queries.execute(new GetAccount('made3'))).toMatchObject({ charged: '3.5000', charges: 2 });
    expect(await projections.rebuild('bank.account-view')).toMatchObject({ generation: 3 });
  });

  it('goes on under traffic, and the immediate one answers with its own write throughout', async () => {
    const [bank] = await start({});
    const accounts = ids('busy', 10);
    await inLanes(accounts, 4, (id) => bank.commands.execute(new Open(id)));
    let charges = 0;
    let done = false;
    // Milliseconds that those commands took whose query did not see them.
    const stale: number[] = [];
    const traffic = Promise.all(
      accounts.slice(0, 4).map(async (id) => {
        for (let own = 1; !done; own++) {
          const begun = performance.now();
          await bank.commands.execute(new Charge(id, '1'));
          const took = performance.now() - begun;
          charges++;
          const row = await bank.queries.execute(new GetDirectory(id));
          if (row?.events !== own + 1) stale.push(took);
        }
      }),
    );
    // Whoever just reads never sees less than before.
    const seen: number[] = [0];
    const reader = (async () => {
      for (; !done; await sleep(2)) seen.push(Number((await bank.rows<{ charges: unknown }>('SELECT SUM(charges) AS charges FROM bank_account_view'))[0]!.charges));
    })();
    const projections = bank.app.get(Projections);
    for (const name of ['bank.account-view', 'bank.totals', 'bank.directory', 'bank.account-view']) await projections.rebuild(name);
    done = true;
    await Promise.all([traffic, reader]);
    expect(seen.filter((charged, i) => charged < seen[i - 1]!)).toEqual([]);
    await bank.idle();
    expect(charges).toBeGreaterThan(0);
    // On PGlite nothing can be swapped while a command waits for it: its events are folded a moment later. So are those of a command that has waited its half second for a slow swap.
    if (backend.name !== 'pglite') expect(stale.filter((took) => took < SWAP_WAIT_MS)).toEqual([]);
    expect(await bank.rows('SELECT charges, charged FROM bank_totals')).toEqual([{ charges, charged: `${charges}.0000` }]);
    const [sum] = await bank.rows<{ charges: unknown; events: unknown }>(
      'SELECT (SELECT SUM(charges) FROM bank_account_view) AS charges, (SELECT SUM(events) FROM bank_directory) AS events',
    );
    expect([Number(sum!.charges), Number(sum!.events)]).toEqual([charges, charges + accounts.length]);
  });
});
