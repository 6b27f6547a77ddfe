/** The read side in a data source of its own: another database of the server, or of another one and the other dialect. */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Consistency, ConsistencyChecker, ConsistencyRule, Consumers, type ConsumerStatus, DeadLetters } from 'nest-tandem';
import { acquire } from '../../libs/tandem/src/adapters/typeorm/acquire.js';
import { UnitOfWork } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { Account, AccountView, Charge, DirectoryProjection, GetAccount, Open } from '../support/bank.js';
import { describeServers, redisBackend, type SqlBackend, sqlServers, type TestDatabase } from '../support/backends.js';
import { inLanes } from '../support/in-lanes.js';
import { JournalLine, READS, type ReadsBank, type ReadsOptions, type ReadsPlace, startReadsBank } from '../support/reads-application.js';

interface Pair {
  readonly name: string;
  readonly log: SqlBackend;
  readonly reads: SqlBackend;
}

/** Wake-ups and jobs go through Redis, or through a PostgreSQL of the two. */
function pairs(): readonly Pair[] {
  const servers = sqlServers();
  const [mariadb, postgres] = (['mariadb', 'postgres'] as const).map((name) => servers.find((server) => server.name === name));
  const mixed = mariadb && postgres ? [{ name: 'mariadb, read on postgres', log: mariadb, reads: postgres }] : [];
  const same = servers.map((server) => ({ name: server.name, log: server, reads: server }));
  return [...same, ...mixed].filter(({ log, reads }) => redisBackend() !== undefined || [log, reads].some(({ name }) => name === 'postgres'));
}

@Injectable()
class AccountsRule extends ConsistencyRule {
  readonly name = 'accounts';
  override readonly entities = [AccountView];
  write = (manager: unknown) => (manager as EntityManager).count(Account);
  read = (manager: unknown) => (manager as EntityManager).count(AccountView);
}

const worker = (file: string): string => fileURLToPath(new URL(`../support/${file}`, import.meta.url));
const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const PROJECTIONS = ['bank.account-view', 'bank.journal', 'bank.totals'] as const;
const ON_TIME = { timeout: 30_000, interval: 50 };

describeServers('with the log on $name', pairs(), ({ log, reads }) => {
  const started: ReadsBank[] = [];
  const databases: TestDatabase[] = [];
  let place: ReadsPlace;

  const start = async (options: ReadsOptions = {}): Promise<ReadsBank> => {
    const bank = await startReadsBank(place, options);
    started.push(bank);
    return bank;
  };
  const closeAll = () => Promise.all(started.splice(0).map(({ app }) => app.close()));
  const lines = (bank: ReadsBank, accountId: string): Promise<number> => bank.reads.getRepository(JournalLine).countBy({ accountId });
  const view = (bank: ReadsBank, id: string): Promise<AccountView | null> => bank.reads.getRepository(AccountView).findOneBy({ id });
  const statusOf = async (bank: ReadsBank, name: string): Promise<ConsumerStatus | undefined> => (await bank.app.get(Consumers).status()).find(({ consumer }) => consumer === name);

  beforeEach(async () => {
    databases.push(await log.create(), await reads.create());
    const [ofLog, ofReads] = databases;
    const postgres = [log, reads].findIndex(({ name }) => name === 'postgres');
    const jobs = redisBackend()?.url ?? { postgres: databases[postgres]!.url };
    place = { log: ofLog!.dataSourceOptions, reads: ofReads!.dataSourceOptions, jobs, queuePrefix: `t${randomBytes(5).toString('hex')}` };
  });
  afterEach(async () => {
    await closeAll();
    await Promise.all(databases.splice(0).map((database) => database.drop()));
  });

  it('keeps projections and their rows there, sagas and jobs with the log, and every event counts once under two workers', async () => {
    const bank = await start();
    await start({ storage: { queryPoolSize: 1, workerPoolSize: 1 } });
    const accounts = names('busy', 20);
    await inLanes(accounts, 8, (id) => bank.commands.execute(new Open(id)));
    for (let round = 0; round < 8; round++) await inLanes(accounts, 8, (id) => bank.commands.execute(new Charge(id, '0.2500')));
    await bank.idle(60_000);
    expect(await bank.reads.query('SELECT accounts, charges, charged FROM bank_totals')).toEqual([{ accounts: 20, charges: 160, charged: '40.0000' }]);
    for (const id of accounts) {
      expect(await view(bank, id)).toMatchObject({ charges: 8, charged: '2.0000', lastVersion: 9 });
      expect(await lines(bank, id)).toBe(9);
    }
    const [letters] = await bank.log.query<{ n: unknown }[]>('SELECT COUNT(*) AS n FROM bank_letter WHERE count = 1');
    expect(Number(letters!.n)).toBe(20);
    const consumersOf = async (side: 'log' | 'reads') => (await bank[side].query<{ name: string }[]>('SELECT name FROM tandem_consumer ORDER BY name')).map(({ name }) => name);
    expect(await consumersOf('log')).toEqual(['bank.letters']);
    expect(await consumersOf('reads')).toEqual(PROJECTIONS);
    expect((await bank.app.get(Consumers).status()).map(({ consumer, lag }) => [consumer, lag])).toEqual(
      ['account-view', 'journal', 'letters', 'totals'].map((name) => [`bank.${name}`, 0]),
    );
    const [events] = await bank.reads.query<{ n: unknown }[]>('SELECT COUNT(*) AS n FROM tandem_event');
    expect(Number(events!.n)).toBe(0);
  });

  it('a worker that is killed between what it wrote there and COMMIT leaves nothing, and the next one does it once', async () => {
    const api = await start({ role: 'api' });
    const child = fork(worker('run-typescript.mjs'), [worker('reads-worker.ts'), JSON.stringify(place)], { execArgv: [] });
    const exited = once(child, 'exit');
    const said = async (): Promise<unknown> => ((await Promise.race([once(child, 'message'), exited])) as unknown[])[0];
    try {
      expect(await said()).toBe('ready');
      const written = said();
      await api.commands.execute(new Open('stuck'));
      expect(await written).toBe('written');
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
    expect(await lines(api, 'stuck')).toBe(0);
    await start({ role: 'worker' });
    for (const name of PROJECTIONS) await expect.poll(() => statusOf(api, name), ON_TIME).toMatchObject({ lag: 0 });
    expect([await lines(api, 'stuck'), (await view(api, 'stuck'))?.lastVersion]).toEqual([1, 1]);
  });

  it('a query with a token, and a strong one, see what was committed; cached answers go; one that cannot wait longer says so', async () => {
    const bank = await start();
    await bank.commands.execute(new Open('fresh'));
    for (let charges = 1; charges <= 10; charges++) {
      const strong = Consistency.strong({ projections: ['bank.account-view'] });
      const executed = bank.commands.execute(new Charge('fresh', '1.0000'), strong);
      expect(await bank.queries.execute(new GetAccount('fresh'), Consistency.readYourWrites(await strong.token))).toMatchObject({ charges });
      await executed;
      expect(await bank.queries.execute(new GetAccount('fresh'), Consistency.strong())).toMatchObject({ charges });
    }
    await bank.idle();
    await expect.poll(() => bank.queries.execute(new GetAccount('fresh')), ON_TIME).toMatchObject({ charges: 10 });
    await bank.app.get(Consumers).pause('bank.account-view', 'a test');
    await bank.commands.execute(new Charge('fresh', '1.0000'));
    await expect(bank.queries.execute(new GetAccount('fresh'), Consistency.strong({ deadlineMs: 300 }))).rejects.toMatchObject({ code: 'TANDEM_CONSISTENCY_TIMEOUT' });
    await bank.app.get(Consumers).resume('bank.account-view');
    expect(await bank.queries.execute(new GetAccount('fresh'), Consistency.strong())).toMatchObject({ charges: 11 });
    await expect.poll(() => bank.queries.execute(new GetAccount('fresh')), ON_TIME).toMatchObject({ charges: 11 });
  });

  it('a batch waits for none of the workers of the log: with all of their connections out, rows are up to date', async () => {
    const bank = await start({ storage: { acquireTimeoutMs: 120_000 } });
    const held = await Promise.all(Array.from({ length: 4 }, () => acquire(bank.log, 'worker')));
    try {
      await bank.commands.execute(new Open('beside'));
      await expect.poll(() => view(bank, 'beside'), ON_TIME).toMatchObject({ status: 'open' });
    } finally {
      await Promise.all(held.map((connection) => connection.release()));
    }
  });

  it('a poisoned event holds its own stream there, and goes on when it is retried', async () => {
    const bank = await start();
    for (const id of ['sick', 'well']) await bank.commands.execute(new Open(id));
    bank.faults.poisonedView.add('sick');
    for (const amount of ['1', '2']) for (const id of ['sick', 'well']) await bank.commands.execute(new Charge(id, amount));
    await expect(bank.idle()).rejects.toThrow(/bank\.charged of account-sick failed 5 times in bank\.account-view: .*poisoned sick/);
    await expect.poll(() => view(bank, 'well'), ON_TIME).toMatchObject({ charges: 2, lastVersion: 3 });
    expect(await view(bank, 'sick')).toMatchObject({ charges: 0, lastVersion: 1 });
    expect(await bank.app.get(DeadLetters).list()).toMatchObject([{ consumer: 'bank.account-view', stream: 'account-sick', state: 'parked' }]);
    const inspected = await bank.app.get(DeadLetters).inspect({ consumer: 'bank.account-view', stream: 'account-sick' });
    expect(inspected).toMatchObject({ metadata: { type: 'bank.charged', version: 2 }, waiting: 1 });
    bank.faults.poisonedView.clear();
    expect(await bank.app.get(DeadLetters).retry({ consumer: 'bank.account-view' })).toBe(1);
    await bank.idle();
    expect(await view(bank, 'sick')).toMatchObject({ charges: 2, charged: '3.0000', lastVersion: 3 });
  });

  describe('when the log went back', () => {
    /** As a backup that was taken before the stream's last events, with the sagas' checkpoints in it. */
    const restoreWithoutLast = async ({ log: db }: ReadsBank, stream: string, events: number): Promise<void> => {
      const [row] = await db.query<{ shard: number; seq: number }[]>(`SELECT shard, MAX(seq) AS seq FROM tandem_event WHERE stream = '${stream}' GROUP BY shard`);
      const head = Number(row!.seq) - events;
      await db.transaction(async (manager) => {
        await manager.query(`DELETE FROM tandem_event WHERE shard = ${row!.shard} AND seq > ${head}`);
        await manager.query(`UPDATE tandem_shard SET head = ${head} WHERE shard = ${row!.shard}`);
        await manager.query(`UPDATE tandem_checkpoint SET seq = ${head}, event_id = NULL WHERE shard = ${row!.shard}`);
      });
    };
    const charged = async (options: ReadsOptions = {}): Promise<ReadsBank> => {
      const bank = await start(options);
      await bank.commands.execute(new Open('back'));
      for (let charge = 0; charge < 3; charge++) await bank.commands.execute(new Charge('back', '1.0000'));
      await bank.idle();
      return bank;
    };

    it('behind the checkpoints, the projections halt as soon as they look, and write nothing of what is appended then', async () => {
      const bank = await charged();
      await restoreWithoutLast(bank, 'account-back', 2);
      for (const name of PROJECTIONS) {
        await expect
          .poll(() => statusOf(bank, name), ON_TIME)
          .toMatchObject({ state: 'halted', reason: expect.stringMatching(/^the log went back: event 4 of shard \d+ was handled/) });
      }
      for (let charge = 0; charge < 4; charge++) await bank.commands.execute(new Charge('back', '5.0000'));
      await expect.poll(async () => (await statusOf(bank, 'bank.letters'))?.lag, ON_TIME).toBe(0);
      expect(await view(bank, 'back')).toMatchObject({ charges: 3, charged: '3.0000' });
      expect(await lines(bank, 'back')).toBe(4);
    });

    it('and has grown past them before a worker looked, the projections halt at the event that is another one', async () => {
      await charged();
      await closeAll();
      const api = await start({ role: 'api' });
      await restoreWithoutLast(api, 'account-back', 2);
      for (let charge = 0; charge < 4; charge++) await api.commands.execute(new Charge('back', '5.0000'));
      await start({ role: 'worker' });
      for (const name of PROJECTIONS) {
        await expect
          .poll(() => statusOf(api, name), ON_TIME)
          .toMatchObject({ state: 'halted', reason: expect.stringMatching(/^the log went back: event 4 of shard \d+ was \S+ and now is/) });
      }
      expect(await view(api, 'back')).toMatchObject({ charges: 3, charged: '3.0000' });
      expect(await lines(api, 'back')).toBe(4);
    });
  });

  it('each side is used from its own kind of code, and a query inside a command reads in a snapshot of its own', async () => {
    const bank = await start();
    await bank.commands.execute(new Open('peeked'), Consistency.strong());
    const units = bank.app.get(UnitOfWork);
    expect(await units.run(() => bank.queries.execute(new GetAccount('peeked')))).toMatchObject({ id: 'peeked', status: 'open' });
    const command = () => bank.commands.execute(new Open('inside'));
    await expect(units.run(command, { kind: 'snapshot' })).rejects.toMatchObject({ code: 'TANDEM_QUERY_WROTE' });
    await expect(units.run(command, { kind: 'consumer', side: 'read' })).rejects.toMatchObject({ code: 'TANDEM_EVENT_OUTSIDE_COMMAND' });
    await expect(units.run(() => bank.log.getRepository(Account).count(), { kind: 'snapshot' })).rejects.toMatchObject({ code: 'TANDEM_OTHER_DATA_SOURCE' });
    await expect(units.run(() => bank.reads.getRepository(AccountView).count())).rejects.toMatchObject({ code: 'TANDEM_OTHER_DATA_SOURCE' });
  });

  it('a comparison reads each side in its own data source at one position, under commands, and finds a row that is missing', async () => {
    const bank = await start({ providers: [AccountsRule] });
    const checker = bank.app.get(ConsistencyChecker);
    const writing = inLanes(names('compared', 40), 4, (id) => bank.commands.execute(new Open(id)));
    for (let check = 0; check < 5; check++) expect((await checker.check()).rules).toMatchObject([{ consistent: true, difference: 0 }]);
    await writing;
    await bank.idle();
    expect((await checker.check()).rules).toMatchObject([{ write: 40, read: 40 }]);
    await bank.reads.getRepository(AccountView).delete({ id: 'compared7' });
    expect((await checker.check()).rules).toMatchObject([{ consistent: false, write: 40, read: 39, difference: 1 }]);
  });

  it('refuses the start with an immediate projection, and without the tables there', async () => {
    await expect(start({ providers: [DirectoryProjection] })).rejects.toThrow(
      /bank\.directory.* has SyncStrategy\.immediate\(\), but projections are kept in the data source "reads"/,
    );
    await databases[1]!.drop();
    databases[1] = await reads.create();
    place = { ...place, reads: databases[1].dataSourceOptions };
    await expect(start({ migrateReads: false })).rejects.toThrow(/tandem_meta \(data source "reads"\)/);
    await expect(start({ storage: { dataSource: READS } })).rejects.toThrow(/`readDataSource` of typeOrmStorage names the log's own data source "reads"/);
  });
});
