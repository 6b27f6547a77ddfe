/** An application whose database user may not change tables: a DBA makes those of a rebuild, and gives the rights that its swap needs. */
import { randomBytes } from 'node:crypto';
import { Projections } from 'nest-tandem';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterEach, expect, it, vi } from 'vitest';
import { describeServers, redisBackend, sqlServers } from '../support/backends.js';
import { Charge, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';

vi.setConfig({ testTimeout: 120_000 });

const VIEW = 'bank.account-view';
const user = `tandem_app_${randomBytes(4).toString('hex')}`;

const newUser = {
  mysql: (database: string) => [`CREATE USER '${user}'@'%' IDENTIFIED BY 'app'`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ${database}.* TO '${user}'@'%'`],
  postgres: () => [`CREATE ROLE ${user} LOGIN PASSWORD 'app'`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${user}`],
};
const goneUser = { mysql: [`DROP USER IF EXISTS '${user}'@'%'`], postgres: [`DROP OWNED BY ${user}`, `DROP ROLE ${user}`] };

describeServers('a rebuild without the right to change tables on $name', redisBackend() ? sqlServers() : [], (backend) => {
  const started: Bank[] = [];
  let owned: BankPlace;
  let dba: DataSource;

  const start = async (place: BankPlace): Promise<Bank> => {
    const bank = await startBank(place);
    started.push(bank);
    return bank;
  };
  const run = async (statements: readonly string[]): Promise<void> => {
    for (const statement of statements) await dba.query(statement);
  };
  afterEach(async () => {
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await run(goneUser[backend.dialect]);
    await dba.destroy();
    await owned.remove();
  });

  it('is blocked, and says by whom it can be made; then it takes those tables and swaps them', async () => {
    owned = { ...(await bankPlace(backend)), redisUrl: redisBackend()!.url };
    const { database } = owned;
    dba = await new DataSource(database!.dataSourceOptions).initialize();
    await (await start(owned)).app.close();
    started.length = 0;
    await run(newUser[backend.dialect](new URL(database!.url).pathname.slice(1)));

    const url = Object.assign(new URL(database!.url), { username: user, password: 'app' }).href;
    const bank = await start({ ...owned, database: { ...database!, url, dataSourceOptions: { ...database!.dataSourceOptions, url } as DataSourceOptions } });
    const projections = bank.app.get(Projections);
    await bank.commands.execute(new Open('anna'));
    await bank.commands.execute(new Charge('anna', '1'));
    await bank.idle();
    await bank.db.query("UPDATE bank_account_view SET status = 'wrong'");

    await expect(projections.rebuild(VIEW)).rejects.toMatchObject({
      code: 'TANDEM_REBUILD_BLOCKED',
      message: expect.stringMatching(/(denied|permission).*`prepare` of Projections/),
    });
    await expect(bank.db.query('CREATE TABLE of_its_own (id int)')).rejects.toThrow(/denied|permission/);
    await run(
      (await projections.prepare(VIEW))
        .split(';\n')
        .map((statement) => statement.trim())
        .filter(Boolean),
    );
    expect(await projections.rebuild(VIEW)).toMatchObject({ generation: 2 });
    expect(await bank.rows("SELECT status, charges FROM bank_account_view WHERE id = 'anna'")).toEqual([{ status: 'open', charges: 1 }]);
    await bank.commands.execute(new Charge('anna', '1'));
    await bank.idle();
    expect(await bank.rows('SELECT charges FROM bank_account_view')).toEqual([{ charges: 2 }]);
    const schema = backend.dialect === 'mysql' ? 'DATABASE()' : 'current_schema()';
    expect(await dba.query(`SELECT table_name FROM information_schema.tables WHERE table_schema = ${schema} AND table_name LIKE 'bank\\_account\\_view\\_\\_%'`)).toEqual([]);
  });
});
