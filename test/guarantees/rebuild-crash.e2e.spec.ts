/** The process that rebuilds is killed at each step of the swap, under traffic; another worker finishes it, and every row equals the fold of the log. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it, vi } from 'vitest';
import { Charge, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { describeServers, sqlServers } from '../support/backends.js';
import type { KillAt } from '../support/bank-child.js';
import { forkBank } from '../support/fork-bank.js';
import { inLanes } from '../support/in-lanes.js';

vi.setConfig({ testTimeout: 300_000 });
const accounts = Array.from({ length: 12 }, (_, index) => `crash${index}`);

const STATE_SWAPPING = "UPDATE tandem_consumer SET state = 'swapping'";
const MAKE_LIVE = 'UPDATE tandem_consumer SET live_generation';
const STEPS: Record<'mysql' | 'postgres', Readonly<Record<string, KillAt>>> = {
  mysql: {
    'before its tables are made': { when: 'before', statement: '^CREATE TABLE IF NOT EXISTS' },
    'after its tables are made': { when: 'after', statement: '^CREATE TABLE IF NOT EXISTS' },
    'while it fills': { when: 'after', statement: '^INSERT INTO `bank_account_view__g2`' },
    'before the live rows stand still': { when: 'before', statement: STATE_SWAPPING },
    'after the live rows stand still': { when: 'after', statement: '^COMMIT', since: STATE_SWAPPING },
    'before RENAME': { when: 'before', statement: '^RENAME TABLE' },
    'after RENAME': { when: 'after', statement: '^RENAME TABLE' },
    'before the new rows are live': { when: 'before', statement: MAKE_LIVE },
    'after the new rows are live, before COMMIT': { when: 'after', statement: MAKE_LIVE },
    'after the new rows are live': { when: 'after', statement: '^COMMIT', since: MAKE_LIVE },
    'before the old table is dropped': { when: 'before', statement: '^DROP TABLE' },
    'after the old table is dropped': { when: 'after', statement: '^DROP TABLE' },
  },
  postgres: {
    'before its tables are made': { when: 'before', statement: '^CREATE TABLE IF NOT EXISTS "' },
    'while it fills': { when: 'after', statement: '^INSERT INTO "bank_account_view__g2"' },
    'before the live rows stand still': { when: 'before', statement: STATE_SWAPPING },
    'after the live rows stand still': { when: 'after', statement: '^COMMIT', since: STATE_SWAPPING },
    'before the tables are renamed': { when: 'before', statement: '^ALTER TABLE .* RENAME TO' },
    'after the tables are renamed': { when: 'after', statement: '^DROP TABLE' },
    'after the new rows are live, before COMMIT': { when: 'after', statement: MAKE_LIVE },
    'after the new rows are live': { when: 'after', statement: '^COMMIT', since: MAKE_LIVE },
  },
};

describeServers('a worker that is killed on $name', sqlServers(), (backend) => {
  const started: Bank[] = [];
  const children: ChildProcess[] = [];
  let place: BankPlace;
  let resting = false;
  let traffic: Promise<unknown> = Promise.resolve();
  afterEach(async () => {
    resting = true;
    await traffic.catch(() => undefined);
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await place.remove();
  });
  it.each(Object.entries(STEPS[backend.dialect]))('%s', async (_, kill) => {
    place = await bankPlace(backend);
    // The API takes commands and folds; it rebuilds nothing by itself.
    const api = await startBank(place, { role: 'api' });
    started.push(api);
    await inLanes(accounts, 4, (id) => api.commands.execute(new Open(id)));
    const { child: dying, said } = forkBank(place, { settings: { role: 'worker', batchSize: 20, poolSize: 5 }, rebuild: 'bank.account-view', kill });
    children.push(dying);
    let charges = 0;
    resting = false;
    traffic = Promise.all(
      accounts.slice(0, 3).map(async (id) => {
        for (; !resting; charges++) await api.commands.execute(new Charge(id, '1'));
      }),
    );
    const [, signal] = (await once(dying, 'exit')) as [unknown, string | null];
    expect(signal, said()).toBe('SIGKILL');

    const other = await startBank(place, { role: 'worker', batchSize: 20 });
    started.push(other);
    await vi.waitFor(async () => expect(await other.rows('SELECT consumer FROM tandem_rebuild')).toEqual([]), { timeout: 120_000, interval: 100 });
    resting = true;
    await traffic;
    await other.idle(120_000);

    expect(await other.rows("SELECT live_generation, state FROM tandem_consumer WHERE name = 'bank.account-view'")).toEqual([{ live_generation: 2, state: 'running' }]);
    const [sums] = await other.rows<Record<string, unknown>>('SELECT COUNT(*) AS n, SUM(charges) AS charges, SUM(charged) AS charged FROM bank_account_view');
    expect(Object.values(sums!).map(Number)).toEqual([accounts.length, charges, charges]);
    // Each row is the fold of its stream: as many events as its last version, less the first one.
    const rows = await other.rows<{ id: string; charges: number; version: number | string }>(
      `SELECT v.id, v.charges, (SELECT MAX(e.version) FROM tandem_event e WHERE e.stream = CONCAT('account-', v.id)) AS version FROM bank_account_view v`,
    );
    for (const { charges: own, version } of rows) expect(own).toBe(Number(version) - 1);
    const left = await other.rows<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_name LIKE 'bank_account_view__%'" +
        (backend.dialect === 'mysql' ? ' AND table_schema = DATABASE()' : ''),
    );
    expect(left).toEqual([]);
    expect(await other.rows("SELECT DISTINCT generation FROM tandem_checkpoint WHERE consumer = 'bank.account-view'")).toEqual([{ generation: 2 }]);
  });
});
