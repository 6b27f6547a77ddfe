/** From a command to its read rows and jobs, on every database that this machine has. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Consistency, DeadLetters, ExpectedVersion } from 'nest-tandem';
import { EventBus } from '@nestjs/cqrs';
import { Account, Charge, Charged, GetAccount, GetDirectory, Open, Opened } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { sqlBackends } from '../support/backends.js';
import { inLanes } from '../support/in-lanes.js';

const ids = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe.each(sqlBackends())('on $name', (backend) => {
  let place: BankPlace;
  let bank: Bank;
  const count = async (sql: string): Promise<number> => Number((await bank.rows<{ n: unknown }>(sql))[0]!.n);
  const fold = async (accountId: string) => (await bank.rows(`SELECT * FROM bank_account_view WHERE id = '${accountId}'`))[0];

  beforeAll(async () => {
    place = await bankPlace(backend);
    bank = await startBank(place);
  });
  afterAll(async () => {
    await bank?.app.close();
    await place?.remove();
  });

  describe('a command and its events', () => {
    it('commit together', async () => {
      await bank.commands.execute(new Open('together'));
      await bank.idle();
      expect(await count("SELECT COUNT(*) AS n FROM tandem_event WHERE stream = 'account-together'")).toBe(1);
      expect(await fold('together')).toMatchObject({ status: 'open', lastVersion: 1 });
    });

    it('are rolled back together when the handler throws after it has published', async () => {
      await expect(bank.commands.execute(new Open('changed-mind', 'throw'))).rejects.toThrow('changed its mind');
      expect(await count("SELECT COUNT(*) AS n FROM tandem_event WHERE stream = 'account-changed-mind'")).toBe(0);
      expect(await bank.db.getRepository(Account).countBy({ id: 'changed-mind' })).toBe(0);
    });

    it('are both there or both not when the handler catches an SQL error and goes on', async () => {
      await bank.commands.execute(new Open('caught'));
      const outcome = await bank.commands.execute(new Charge('caught', '5.0000', 'catch-sql-error')).then(
        () => 'committed',
        (error: { code: string }) => error.code,
      );
      const { balance } = await bank.db.getRepository(Account).findOneByOrFail({ id: 'caught' });
      const events = await count("SELECT COUNT(*) AS n FROM tandem_event WHERE stream = 'account-caught' AND type = 'bank.charged'");
      // MySQL's transaction outlives a duplicate key, PostgreSQL's does not.
      expect([outcome, Number(balance), events]).toEqual(backend.dialect === 'mysql' ? ['committed', 5, 1] : [expect.stringMatching(/^TANDEM_/), 0, 0]);
    });
  });

  describe('a stream that is expected at a version', () => {
    it('takes the event at that version only, and an append that is refused leaves nothing', async () => {
      const events = bank.app.get(EventBus);
      await events.publish(ExpectedVersion.none(new Opened('expected')));
      await events.publish(ExpectedVersion.exactly(new Charged('expected', '1.0000'), 1));
      const conflict = { code: 'TANDEM_CONCURRENCY_CONFLICT', data: { subject: 'account-expected' } };
      await expect(events.publish(ExpectedVersion.none(new Opened('expected')))).rejects.toMatchObject(conflict);
      await expect(events.publish(ExpectedVersion.exactly(new Charged('expected', '1.0000'), 1))).rejects.toMatchObject(conflict);
      expect(await count("SELECT COUNT(*) AS n FROM tandem_event WHERE stream = 'account-expected'")).toBe(2);
    });
  });

  describe('under concurrent commands', () => {
    it('every row equals the fold of its events, and sums are exact', async () => {
      const accounts = ids('busy', 20);
      await inLanes(accounts, 8, (id) => bank.commands.execute(new Open(id)));
      await inLanes(
        accounts.flatMap((id) => Array.from({ length: 10 }, () => id)),
        16,
        (id) => bank.commands.execute(new Charge(id, '0.1000')),
      );
      await bank.idle();
      for (const id of accounts) expect(await fold(id)).toMatchObject({ charges: 10, charged: '1.0000', lastVersion: 11 });
      const charges = await count("SELECT COUNT(*) AS n FROM tandem_event WHERE type = 'bank.charged'");
      const opened = await count("SELECT COUNT(*) AS n FROM tandem_event WHERE type = 'bank.opened'");
      expect((await bank.rows('SELECT accounts, charges FROM bank_totals'))[0]).toEqual({ accounts: opened, charges });
      expect(await count('SELECT COUNT(*) AS n FROM tandem_shard s WHERE head <> (SELECT COUNT(*) FROM tandem_event e WHERE e.shard = s.shard)')).toBe(0);
    });
  });

  describe('a saga', () => {
    it('creates each job once; its SQL effect happens once, and the outside sees one key', async () => {
      const accounts = ids('letter', 10);
      await inLanes(accounts, 5, (id) => bank.commands.execute(new Open(id)));
      await bank.idle();
      expect(
        (
          await bank.rows<{ count: number }>(
            "SELECT count FROM bank_letter WHERE accountId LIKE 'letter%'".replace('accountId', backend.dialect === 'mysql' ? 'accountId' : '"accountId"'),
          )
        ).map((row) => Number(row.count)),
      ).toEqual(Array(10).fill(1));
      for (const id of accounts) expect(bank.faults.letters.filter(({ accountId }) => accountId === id)).toHaveLength(1);
      expect(new Set(bank.faults.letters.map(({ key }) => key)).size).toBe(bank.faults.letters.length);
    });

    it('the whole chain of a command has its correlation id, and each link names its cause', async () => {
      await bank.commands.execute(new Open('chained'));
      await bank.idle();
      const [stored] = await bank.rows<{ event_id: string; metadata: unknown }>("SELECT event_id, metadata FROM tandem_event WHERE stream = 'account-chained'");
      const { correlationId, causationId } = (typeof stored!.metadata === 'string' ? JSON.parse(stored!.metadata) : stored!.metadata) as {
        correlationId: string;
        causationId: string;
      };
      // The command began the chain: its own id is the correlation id, and the cause of the event.
      expect(causationId).toBe(correlationId);
      expect(bank.faults.letters.find(({ accountId }) => accountId === 'chained')).toMatchObject({ correlationId, causationId: stored!.event_id });
    });

    it('a job that fails is tried again, then parked with its error, and its SQL effect is undone each time', async () => {
      bank.faults.poisonedCounts.add('parked');
      await bank.commands.execute(new Open('parked'));
      await expect(bank.idle()).rejects.toThrow(/bank\.count-letter\) failed 4 times: .*poisoned parked/);
      expect(await count("SELECT COUNT(*) AS n FROM bank_letter WHERE accountid = 'parked'".replace('accountid', backend.dialect === 'mysql' ? 'accountId' : '"accountId"'))).toBe(
        0,
      );
      await bank.db.query("DELETE FROM tandem_job WHERE state = 'parked'");
    });
  });

  describe('a poisoned event', () => {
    it('holds back its own stream only, and goes on in order once it is mended', async () => {
      for (const id of ['sick', 'well']) await bank.commands.execute(new Open(id));
      bank.faults.poisonedView.add('sick');
      for (const amount of ['1', '2', '3']) for (const id of ['sick', 'well']) await bank.commands.execute(new Charge(id, amount));
      await expect(bank.idle()).rejects.toThrow(/bank\.charged of account-sick failed 5 times in bank\.account-view: .*poisoned sick/);
      expect(await fold('well')).toMatchObject({ charges: 3, charged: '6.0000', lastVersion: 4 });
      expect(await fold('sick')).toMatchObject({ charges: 0, lastVersion: 1 });

      bank.faults.poisonedView.clear();
      expect(await bank.app.get(DeadLetters).retry({ consumer: 'bank.account-view' })).toBe(1);
      await bank.idle();
      expect(await fold('sick')).toMatchObject({ charges: 3, charged: '6.0000', lastVersion: 4 });
    });

    it('halts a projection whose rows several streams feed, and no sum is wrong afterwards', async () => {
      bank.faults.poisonedTotals.add('halts');
      await bank.commands.execute(new Open('halts'));
      await bank.commands.execute(new Open('after-halt'));
      await expect(bank.idle()).rejects.toThrow(/bank\.totals is halted|bank\.opened of account-halts failed 5 times in bank\.totals/);

      bank.faults.poisonedTotals.clear();
      await bank.app.get(DeadLetters).retry({ consumer: 'bank.totals' });
      await bank.idle();
      const opened = await count("SELECT COUNT(*) AS n FROM tandem_event WHERE type = 'bank.opened'");
      expect((await bank.rows('SELECT accounts FROM bank_totals'))[0]).toEqual({ accounts: opened });
    });
  });

  describe('an immediate projection', () => {
    it('is up to date when the command returns, without any wait', async () => {
      await bank.commands.execute(new Open('at-once'));
      await bank.commands.execute(new Charge('at-once', '1'));
      expect(await bank.queries.execute(new GetDirectory('at-once'))).toMatchObject({ events: 2 });
    });

    it('that fails on the command’s own event fails the command, and nothing is written', async () => {
      bank.faults.poisonedDirectory.add('refused');
      await expect(bank.commands.execute(new Open('refused'))).rejects.toThrow('poisoned refused');
      expect(await bank.db.getRepository(Account).countBy({ id: 'refused' })).toBe(0);
      expect(await count("SELECT COUNT(*) AS n FROM tandem_event WHERE stream = 'account-refused'")).toBe(0);
    });
  });

  describe('consistency', () => {
    it('a query with the token of a command sees its write', async () => {
      for (const id of ids('fresh', 5)) {
        const strong = Consistency.strong();
        await bank.commands.execute(new Open(id), strong);
        expect(await bank.queries.execute(new GetAccount(id), Consistency.readYourWrites(await strong.token))).toMatchObject({ id, status: 'open' });
      }
    });

    it('a cached answer goes when the row that it read changes', async () => {
      await bank.commands.execute(new Open('cached'));
      await bank.idle();
      expect(await bank.queries.execute(new GetAccount('cached'))).toMatchObject({ charges: 0 });
      await bank.commands.execute(new Charge('cached', '1'), Consistency.strong());
      expect(await bank.queries.execute(new GetAccount('cached'))).toMatchObject({ charges: 1 });
    });
  });
});
