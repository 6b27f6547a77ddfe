/** What a rebuild waits for, refuses, joins and leaves alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ConsumerStore, Consumers, DeadLetters, type EventMetadata, On, Projection, type ProjectionContext, Projections, UnitOfWorkRunner } from 'nest-tandem';
import { Column, Entity, type EntityManager, Index, PrimaryColumn } from 'typeorm';
import { afterEach, expect, it, vi } from 'vitest';
import { AccountView, AccountViewProjection, Charge, Charged, Open, Opened } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { describeServers, sqlServers } from '../support/backends.js';

vi.setConfig({ testTimeout: 180_000 });

@Entity('bank_note')
@Index(['word'])
@Index(['word', 'id'], { unique: true })
class Note {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 20, default: 'none' }) word!: string;
  @Column('int', { default: 0 }) count!: number;
}

/** The first time that it meets the account `slow` it waits in the middle of its batch. */
const gate = { met: false, open: false, byHand: false };

@Projection('bank.notes', { version: 1, tables: [Note], parallelism: 2 })
class Notes {
  @On(Opened)
  async opened({ accountId }: Opened, _meta: EventMetadata, manager: EntityManager, { table }: ProjectionContext): Promise<void> {
    if (accountId === 'slow' && !gate.met) {
      gate.met = true;
      while (!gate.open) await sleep(10);
    }
    if (gate.byHand) await manager.query("UPDATE bank_note SET count = 100 WHERE id = 'nobody'");
    const there = await manager.findOneBy(Note, { id: accountId });
    await manager.save(Note, { id: accountId, word: 'open', count: (there?.count ?? 0) + 1 });
    await manager.query(`UPDATE ${table(Note)} SET count = count + 10 WHERE id = '${accountId}'`);
    await manager.createQueryBuilder().update(Note).set({ word: 'done' }).where('id = :id', { id: accountId }).execute();
  }
}

@Projection('bank.nowhere', { version: 1 })
class Nowhere {
  @On(Opened)
  async opened(): Promise<void> {}
}

@Projection('bank.account-view', { entity: AccountView, version: 2 })
class AccountViewOfVersion2 {
  @On(Opened)
  opened(view: AccountView, _event: Opened): void {
    view.status = 'version 2';
  }
  @On(Charged)
  charged(view: AccountView, _event: Charged): void {
    view.charges += 1;
  }
}

const VIEW = 'bank.account-view';

describeServers('a rebuild on $name', sqlServers(), (backend) => {
  const started: Bank[] = [];
  let place: BankPlace;
  afterEach(async () => {
    gate.open = true;
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await place.remove();
  });
  const another = async (settings: Parameters<typeof startBank>[1] = {}): Promise<Bank> => {
    const bank = await startBank(place, { consumerAttempts: 2, ...settings });
    started.push(bank);
    return bank;
  };
  const start = async (settings?: Parameters<typeof startBank>[1]) => {
    Object.assign(gate, { met: true, open: true, byHand: false });
    place = await bankPlace(backend);
    const bank = await another(settings);
    return { bank, projections: bank.app.get(Projections) };
  };
  const view = (bank: Bank, id: string) => bank.rows<Record<string, unknown>>(`SELECT status, charges FROM bank_account_view WHERE id = '${id}'`);
  const leftOvers = async (bank: Bank) => [
    ...(await bank.rows(
      `SELECT table_name AS name FROM information_schema.tables WHERE table_name LIKE '%\\_\\_g%'${backend.dialect === 'mysql' ? ' AND table_schema = DATABASE()' : ''}`,
    )),
    ...(await bank.rows('SELECT consumer FROM tandem_rebuild')),
  ];

  it('with an event that fails is not swapped unless told, and lives on when the event is mended', async () => {
    const { bank, projections } = await start();
    for (const id of ['well', 'ill']) await bank.commands.execute(new Open(id));
    for (const id of ['well', 'ill']) await bank.commands.execute(new Charge(id, '1'));
    await bank.idle();
    bank.faults.poisonedView.add('ill');
    await expect(projections.rebuild(VIEW)).rejects.toMatchObject({ code: 'TANDEM_REBUILD_BLOCKED', message: expect.stringMatching(/1 stream is held back.*allowDeadLetters/) });
    expect(await view(bank, 'ill')).toEqual([{ status: 'open', charges: 1 }]);
    expect(await projections.status(VIEW)).toMatchObject({ state: 'running', generation: 1, deadLetters: 0, rebuild: { state: 'blocked', generation: 2, deadLetters: 1 } });

    await projections.rebuild(VIEW, { allowDeadLetters: true });
    expect([await view(bank, 'ill'), await view(bank, 'well')]).toEqual([[{ status: 'open', charges: 0 }], [{ status: 'open', charges: 1 }]]);
    expect(await projections.status(VIEW)).toMatchObject({ generation: 2, deadLetters: 1, rebuild: null });
    bank.faults.poisonedView.clear();
    await bank.app.get(DeadLetters).retry({ consumer: VIEW });
    await bank.idle();
    expect(await view(bank, 'ill')).toEqual([{ status: 'open', charges: 1 }]);
  });

  it('refuses to lose rows that no event makes, unless told', async () => {
    const { bank, projections } = await start();
    await bank.commands.execute(new Open('known'));
    await bank.idle();
    await bank.db.getRepository(AccountView).insert({ id: 'legacy', status: 'imported' });
    await expect(projections.rebuild(VIEW)).rejects.toMatchObject({
      code: 'TANDEM_REBUILD_BLOCKED',
      message: expect.stringMatching(/1 live row would be lost.*allowRowsWithoutEvents/),
    });
    expect(await view(bank, 'legacy')).toHaveLength(1);
    await projections.rebuild(VIEW, { allowRowsWithoutEvents: true });
    expect([await view(bank, 'legacy'), await view(bank, 'known')]).toEqual([[], [{ status: 'open', charges: 0 }]]);
  });

  it('is cancelled by its signal without a trace', async () => {
    const { bank, projections } = await start();
    await bank.commands.execute(new Open('anna'));
    await bank.idle();
    const abort = new AbortController();
    bank.faults.poisonedView.add('anna');
    await bank.commands.execute(new Charge('anna', '1'));
    await expect(projections.rebuild(VIEW, { signal: abort.signal, onProgress: () => abort.abort() })).rejects.toMatchObject({ code: 'TANDEM_REBUILD_CANCELLED' });
    expect(await leftOvers(bank)).toEqual([]);
    expect(await bank.rows(`SELECT DISTINCT generation FROM tandem_checkpoint WHERE consumer = '${VIEW}'`)).toEqual([{ generation: 1 }]);
    expect(await projections.cancel(VIEW)).toBe(false);
    bank.faults.poisonedView.clear();
    // A number is never used again.
    expect(await projections.rebuild(VIEW)).toMatchObject({ generation: 3 });
    expect(await leftOvers(bank)).toEqual([]);
  });

  it('is joined by whoever calls again, in any process', async () => {
    const { bank, projections } = await start({ providers: [Notes], entities: [Note] });
    await bank.commands.execute(new Open('slow'));
    await bank.idle();
    const other = (await another({ providers: [Notes], entities: [Note] })).app.get(Projections);
    Object.assign(gate, { met: false, open: false });
    const following = new Set<string>();
    const follow = (by: Projections, name: string) => by.rebuild('bank.notes', { onProgress: () => void (gate.open = following.add(name).size === 3) });
    expect(await Promise.all([follow(projections, 'first'), follow(other, 'second'), follow(projections, 'third')])).toMatchObject(Array(3).fill({ generation: 2 }));
    expect(await bank.rows('SELECT id, count FROM bank_note')).toEqual([{ id: 'slow', count: 11 }]);
    expect(await leftOvers(bank)).toEqual([]);
  });

  it('is refused for what is no projection, says not what it writes, or hangs together with other tables', async () => {
    const { bank, projections } = await start({ providers: [Nowhere] });
    await expect(projections.rebuild('bank.letters')).rejects.toMatchObject({ code: 'TANDEM_REBUILD_REFUSED', message: expect.stringMatching(/bank\.letters is a saga/) });
    await expect(projections.rebuild('bank.nowhere')).rejects.toMatchObject({ code: 'TANDEM_REBUILD_REFUSED', message: expect.stringMatching(/Nowhere.*tables/) });
    await expect(projections.rebuild('nobody')).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
    await bank.db.query('CREATE TABLE bank_hanger (id varchar(60) PRIMARY KEY, CONSTRAINT hangs_on FOREIGN KEY (id) REFERENCES bank_account_view (id))');
    await expect(projections.rebuild(VIEW)).rejects.toMatchObject({ code: 'TANDEM_REBUILD_REFUSED', message: expect.stringMatching(/hangs_on/) });
    await expect(projections.reset(VIEW)).rejects.toMatchObject({ code: 'TANDEM_NOT_CONFIRMED' });
    expect(await leftOvers(bank)).toEqual([]);
  });

  it('of a free projection goes where its manager and its context lead, and live rows that SQL names by hand are left alone', async () => {
    const { bank, projections } = await start({ providers: [Notes], entities: [Note] });
    await bank.commands.execute(new Open('anna'));
    await bank.idle();
    await bank.db.query("UPDATE bank_note SET count = 5, word = 'wrong'");
    await projections.rebuild('bank.notes');
    expect(await bank.rows('SELECT * FROM bank_note')).toEqual([{ id: 'anna', word: 'done', count: 11 }]);
    gate.byHand = true;
    await expect(projections.rebuild('bank.notes')).rejects.toMatchObject({ code: 'TANDEM_REBUILD_BLOCKED' });
    expect(await bank.app.get(DeadLetters).list({ consumer: 'bank.notes' })).toMatchObject([
      { generation: 3, error: expect.stringMatching(/names bank_note while it is rebuilt/) },
    ]);
    await projections.cancel('bank.notes');
    expect(await bank.rows('SELECT * FROM bank_note')).toEqual([{ id: 'anna', word: 'done', count: 11 }]);
  });

  it('leaves tables that TypeORM and the next rebuild know again', async () => {
    const { bank, projections } = await start({ providers: [Notes], entities: [Note] });
    await bank.commands.execute(new Open('anna'));
    await bank.idle();
    for (const name of ['bank.notes', VIEW, 'bank.totals', 'bank.directory', 'bank.notes']) await projections.rebuild(name);
    const { upQueries } = await bank.db.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query).filter((query) => /bank_(note|account_view|totals|directory)/.test(query))).toEqual([]);
  });

  it('waits for a batch of the live rows that has begun, which would otherwise write into the new ones', async () => {
    const { bank, projections } = await start({ providers: [Notes], entities: [Note] });
    Object.assign(gate, { met: false, open: false });
    await bank.commands.execute(new Open('slow'));
    await vi.waitFor(() => expect(gate.met).toBe(true), { timeout: 30_000 });
    const rebuilding = projections.rebuild('bank.notes');
    await Promise.race([rebuilding, sleep(2_500)]);
    gate.open = true;
    await rebuilding;
    await bank.idle();
    expect(await bank.rows('SELECT * FROM bank_note')).toEqual([{ id: 'slow', word: 'done', count: 11 }]);
  });

  it('does not come between a look at positions and the rows that are read with it', async () => {
    const { bank, projections } = await start();
    await bank.commands.execute(new Open('anna'));
    await bank.idle();
    await bank.db.getRepository(AccountView).update('anna', { status: 'old' });
    const units = bank.app.get(UnitOfWorkRunner);
    const rebuilding = await units.run(
      async (unit) => {
        await bank.app.get(ConsumerStore).positions([VIEW], [0], unit);
        const running = units.outside(() => projections.rebuild(VIEW));
        await Promise.race([running, sleep(3_000)]);
        expect(await bank.db.getRepository(AccountView).find()).toMatchObject([{ status: 'old' }]);
        return { running };
      },
      { kind: 'snapshot' },
    );
    await rebuilding.running;
    expect(await view(bank, 'anna')).toEqual([{ status: 'open', charges: 0 }]);
  });

  it('begins by itself when newer code starts, and older code does not touch what came of it', async () => {
    const { bank: older } = await start();
    await older.commands.execute(new Open('anna'));
    await older.idle();
    await another({ role: 'worker', without: [AccountViewProjection], providers: [AccountViewOfVersion2] });
    await vi.waitFor(async () => expect(await older.app.get(Projections).status(VIEW)).toMatchObject({ generation: 2, version: 2, rebuild: null }), {
      timeout: 60_000,
      interval: 100,
    });
    expect(await view(older, 'anna')).toEqual([{ status: 'version 2', charges: 0 }]);
    await older.commands.execute(new Open('bert'));
    await older.idle();
    expect(await view(older, 'bert')).toEqual([{ status: 'version 2', charges: 0 }]);
  });

  it('only tells of newer code where it is told to', async () => {
    const { bank } = await start();
    await bank.app.close();
    const newer = await another({ rebuild: 'manual', without: [AccountViewProjection], providers: [AccountViewOfVersion2] });
    expect(await newer.app.get(Projections).status(VIEW)).toMatchObject({ generation: 1, version: 1, rebuild: null });
    await newer.app.get(Projections).rebuild(VIEW);
    expect(await newer.app.get(Projections).status(VIEW)).toMatchObject({ generation: 2, version: 2 });
  });

  it('takes the tables that a DBA has prepared', async () => {
    const { bank, projections } = await start();
    await bank.commands.execute(new Open('anna'));
    await bank.idle();
    const script = await projections.prepare(VIEW);
    expect(script).toMatch(/CREATE TABLE IF NOT EXISTS .bank_account_view__g2. /);
    for (const statement of script.split(';\n').filter((line) => /^(CREATE|ALTER) TABLE/.test(line) && !/OWNER/.test(line))) await bank.db.query(statement);
    await bank.db.query('ALTER TABLE bank_account_view__g2 ADD COLUMN seen_by_dba int NULL');
    await projections.rebuild(VIEW);
    expect(await bank.rows('SELECT id, seen_by_dba FROM bank_account_view')).toEqual([{ id: 'anna', seen_by_dba: null }]);
  });

  it('in place empties the rows and reads the log again; pause and resume as of every consumer', async () => {
    const { bank, projections } = await start();
    for (const id of ['anna', 'bert']) await bank.commands.execute(new Open(id));
    await bank.idle();
    await bank.db.getRepository(AccountView).insert({ id: 'legacy', status: 'imported' });
    await projections.reset(VIEW, { confirm: true });
    await bank.idle();
    expect(await bank.rows('SELECT id FROM bank_account_view ORDER BY id')).toEqual([{ id: 'anna' }, { id: 'bert' }]);
    expect(await projections.status(VIEW)).toMatchObject({ generation: 2, state: 'running', lagEvents: 0 });
    await projections.pause(VIEW, 'a look inside');
    await bank.commands.execute(new Open('carl'));
    expect(await projections.status(VIEW)).toMatchObject({ state: 'paused', reason: 'a look inside', lagEvents: 1 });
    expect((await projections.status(VIEW)).lagSeconds).toBeGreaterThan(0);
    // What is paused is rebuilt, and stays paused.
    await projections.rebuild(VIEW);
    expect(await projections.status(VIEW)).toMatchObject({ state: 'paused', generation: 3 });
    expect(await bank.rows('SELECT id FROM bank_account_view')).toHaveLength(3);
    await bank.app.get(Consumers).resume(VIEW);
    expect((await projections.status()).map(({ name }) => name)).toContain(VIEW);
  });
});
