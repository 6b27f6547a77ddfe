/** The database server is killed, restarted, stopped and throws its clients out in the middle of the traffic: the callers are told, and all goes on by itself. */
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeServers } from '../support/backends.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { BankTraffic } from '../support/bank-traffic.js';
import { type OwnDatabase, ownDatabases } from '../support/own-databases.js';

describeServers('a $name server', ownDatabases(), ({ create, name }) => {
  let server: OwnDatabase;
  let place: BankPlace;
  let bank: Bank;

  beforeEach(async () => {
    server = await create();
    place = await bankPlace(server.backend);
    bank = await startBank(place, { pools: { acquireTimeoutMs: 2_000, answerTimeoutMs: 2_000 }, jobLeaseMs: 3_000 });
  });
  afterEach(async () => {
    server.resume();
    await bank.app.close();
    await server.remove();
  });

  const throwEverybodyOut = async () => {
    const source = await new DataSource(place.database!.dataSourceOptions).initialize();
    try {
      if (name === 'postgres') await source.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');
      else {
        const sessions = await source.query<{ id: number }[]>('SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()');
        for (const { id } of sessions) await source.query(`KILL ${id}`).catch(() => undefined); // it has gone by itself
      }
    } finally {
      await source.destroy();
    }
  };

  it('killed with kill -9, and started again, twice', async () => {
    const traffic = new BankTraffic(bank);
    for (let round = 1; round <= 2; round++) {
      await traffic.goesOn();
      await server.kill();
      await traffic.fails();
      await server.start();
    }
    await traffic.goesOn();
    await traffic.isWhole();
  });

  it('restarted in good order', async () => {
    const traffic = new BankTraffic(bank);
    await traffic.goesOn();
    await server.stop();
    await traffic.fails();
    await server.start();
    await traffic.goesOn();
    await traffic.isWhole();
  });

  it('that answers nothing for a while', async () => {
    const traffic = new BankTraffic(bank);
    await traffic.goesOn();
    server.pause();
    await traffic.fails();
    server.resume();
    await traffic.goesOn();
    await traffic.isWhole();
  });

  it('that throws all of its clients out, again and again', async () => {
    const traffic = new BankTraffic(bank);
    for (let round = 1; round <= 5; round++) {
      await traffic.goesOn();
      await throwEverybodyOut();
    }
    await traffic.goesOn();
    await traffic.isWhole();
    expect(traffic.acknowledged.size).toBeGreaterThan(150);
  });
});
