/** History on every database: what is imported, how often, and who hears of it. */
import { EventsHandler, type IEventHandler } from '@nestjs/cqrs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Account, AccountView, Charge, Charged, CountLetter, Directory, Open, Opened, Totals } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { OptimisticConcurrencyError } from '../kernel/errors.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { Projection } from '../read/projection/projection.js';
import { Projections } from '../read/projection/rebuild/projections.js';
import { DurableSaga } from '../write/saga/durable-saga.js';
import { Durable } from './durable.js';
import { EventLog, type EventMetadata } from './event-log.js';
import { HistoryImport, type HistoryItem } from './history-import.js';
import { On } from './on.js';

const SOURCE = 'legacy-bank';
const heard: string[] = [];

@EventsHandler(Opened, Charged)
@Durable('spec.history-audit', { startFrom: 'beginning' })
class Audit implements IEventHandler<Opened | Charged> {
  handle(event: Opened | Charged): void {
    heard.push(`durable ${event.constructor.name} ${event.accountId}`);
  }
}

@EventsHandler(Opened, Charged)
class InMemory implements IEventHandler<Opened | Charged> {
  handle(event: Opened | Charged): void {
    heard.push(`in memory ${event.constructor.name} ${event.accountId}`);
  }
}

@DurableSaga('spec.history-saga', { startFrom: 'beginning' })
class FromTheBeginning {
  @On(Opened)
  opened({ accountId }: Opened) {
    heard.push(`saga Opened ${accountId}`);
    return new CountLetter(`all-${accountId}`);
  }
}

@Entity('spec_history_origin')
class Origin {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 60, nullable: true }) source!: string | null;
}

@Projection('spec.origins', { entity: Origin, version: 1 })
class Origins {
  @On(Opened)
  opened(row: Origin, _event: Opened, { history }: EventMetadata) {
    row.source = history ?? null;
  }
}

const item = (i: number, charges = 2): HistoryItem => ({
  key: `row-${i}`,
  events: [new Opened(`old-${i}`), ...Array.from({ length: charges }, () => new Charged(`old-${i}`, '1'))],
});
const items = (count: number, charges?: number): HistoryItem[] => Array.from({ length: count }, (_, i) => item(i, charges));

describe.each(sqlBackends())('an import of history on $name', { timeout: 120_000 }, (backend) => {
  let place: BankPlace;
  const started: Bank[] = [];
  beforeEach(async () => {
    place = await bankPlace(backend);
  });
  afterEach(async () => {
    for (const { app } of started.splice(0)) await app.close();
    await place.remove();
    heard.length = 0;
  });
  const start = async (options: Parameters<typeof startBank>[1] = { role: 'api' }): Promise<Bank> => {
    const bank = await startBank(place, options);
    started.push(bank);
    return bank;
  };
  const historyOf = ({ app }: Bank) => app.get(HistoryImport);
  const streams = async ({ rows }: Bank) => {
    const events = await rows<{ stream: string; version: number; event_id: string }>('SELECT stream, version, event_id FROM tandem_event ORDER BY stream, version');
    expect(new Set(events.map(({ event_id }) => event_id)).size).toBe(events.length);
    const versions: Record<string, number[]> = {};
    for (const { stream, version } of events) (versions[stream] ??= []).push(version);
    return versions;
  };
  const threeEach = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`account-old-${i}`, [1, 2, 3]]));

  it('is seen by projections, and by no saga, no durable handler and nobody in memory', async () => {
    const bank = await start({ providers: [Audit, InMemory, FromTheBeginning, Origins], entities: [Origin] });
    expect(await historyOf(bank).run({ source: SOURCE, events: items(30), chunkSize: 20 })).toEqual({ imported: 90, skipped: 0 });
    await bank.idle();
    expect(heard).toEqual([]);
    expect(await bank.rows('SELECT id FROM tandem_job')).toEqual([]);
    expect(await bank.db.getRepository(AccountView).count({ where: { status: 'open', charges: 2, lastVersion: 3 } })).toBe(30);
    expect(await bank.db.getRepository(Totals).find()).toEqual([{ id: 'all', accounts: 30, charges: 60, charged: '60.0000' }]);
    expect(await streams(bank)).toEqual(threeEach(30));
    // What happens later on the same streams, and on new ones, is heard of.
    await bank.db.getRepository(Account).insert({ id: 'old-7', balance: '0' });
    await bank.commands.execute(new Charge('old-7', '5'));
    await bank.commands.execute(new Open('new'));
    await bank.idle();
    expect(heard.toSorted()).toEqual(['durable Charged old-7', 'durable Opened new', 'in memory Charged old-7', 'in memory Opened new', 'saga Opened new']);
    expect(await bank.db.getRepository(AccountView).findOneBy({ id: 'old-7' })).toMatchObject({ charges: 3, lastVersion: 4 });
    expect(await bank.db.getRepository(Origin).findOneByOrFail({ id: 'old-7' })).toMatchObject({ source: SOURCE });
    expect(await bank.db.getRepository(Origin).findOneByOrFail({ id: 'new' })).toMatchObject({ source: null });
    await bank.app.get(Projections).rebuild('spec.origins');
    expect(await bank.db.getRepository(Origin).countBy({ source: SOURCE })).toBe(30);
    expect(heard).toHaveLength(5);
  });

  it('is folded by immediate projections with each chunk, before any worker runs', async () => {
    const bank = await start();
    await historyOf(bank).run({ source: SOURCE, events: items(10) });
    expect(await bank.db.getRepository(Directory).count({ where: { events: 3 } })).toBe(10);
  });

  it('that is repeated changes nothing, also when its streams have gone on', async () => {
    const bank = await start();
    await historyOf(bank).run({ source: SOURCE, events: items(10) });
    await bank.db.getRepository(Account).insert({ id: 'old-3', balance: '0' });
    await bank.commands.execute(new Charge('old-3', '5'));
    expect(await historyOf(bank).run({ source: SOURCE, events: items(12), chunkSize: 7 })).toEqual({ imported: 6, skipped: 30 });
    expect(await streams(bank)).toEqual({ ...threeEach(12), 'account-old-3': [1, 2, 3, 4] });
  });

  it('that is aborted in the middle ends between two chunks, leaves its source, and goes on from there', async () => {
    const bank = await start();
    const abort = new AbortController();
    let left = false;
    async function* source() {
      try {
        for (const one of items(20)) {
          await nextTurn();
          yield one;
        }
      } finally {
        left = true;
      }
    }
    const told: number[] = [];
    const onProgress = ({ imported }: { imported: number }) => {
      told.push(imported);
      if (imported === 30) abort.abort(new Error('enough'));
    };
    const aborted = historyOf(bank).run({ source: SOURCE, events: source(), chunkSize: 15, onProgress, signal: abort.signal });
    await expect(aborted).rejects.toMatchObject({ code: 'TANDEM_HISTORY_CANCELLED', cause: { message: 'enough' } });
    expect([told, left]).toEqual([[15, 30], true]);
    expect(Object.keys(await streams(bank))).toHaveLength(10);
    expect(await historyOf(bank).run({ source: SOURCE, events: source(), chunkSize: 15 })).toEqual({ imported: 30, skipped: 30 });
    expect(await streams(bank)).toEqual(threeEach(20));
    const none = historyOf(bank).run({ source: SOURCE, events: items(1), signal: AbortSignal.abort() });
    await expect(none).rejects.toMatchObject({ code: 'TANDEM_HISTORY_CANCELLED' });
  });

  it('that failed between two chunks, or before a COMMIT, goes on from there', async () => {
    const bank = await start();
    function* breaking() {
      yield* items(13);
      throw new Error('the source is gone');
    }
    await expect(historyOf(bank).run({ source: SOURCE, events: breaking(), chunkSize: 15 })).rejects.toThrow('the source is gone');
    expect(Object.keys(await streams(bank))).toHaveLength(10);
    bank.faults.poisonedDirectory.add('old-17');
    await expect(historyOf(bank).run({ source: SOURCE, events: items(20), chunkSize: 15 })).rejects.toThrow('poisoned old-17');
    expect(Object.keys(await streams(bank))).toHaveLength(15);
    bank.faults.poisonedDirectory.clear();
    expect(await historyOf(bank).run({ source: SOURCE, events: items(20), chunkSize: 15 })).toEqual({ imported: 15, skipped: 45 });
    expect(await streams(bank)).toEqual(threeEach(20));
    expect(await bank.db.getRepository(Directory).count({ where: { events: 3 } })).toBe(20);
  });

  it('is refused for a stream with other events, which the error names, and nothing of its chunk is written', async () => {
    const bank = await start();
    await bank.commands.execute(new Open('old-8'));
    const refused = historyOf(bank).run({ source: SOURCE, events: items(10), chunkSize: 15 });
    await expect(refused).rejects.toMatchObject({
      code: 'TANDEM_HISTORY_CONFLICT',
      data: { stream: 'account-old-8', key: 'row-8', source: SOURCE },
      message: expect.stringContaining('account-old-8, the stream of item "row-8" of "legacy-bank", has other events already'),
    });
    expect(await streams(bank)).toEqual({ ...threeEach(5), 'account-old-8': [1] });
    const conflict = { code: 'TANDEM_HISTORY_CONFLICT' };
    const grown = historyOf(bank).run({ source: SOURCE, events: items(1, 3) });
    await expect(grown).rejects.toMatchObject({ ...conflict, message: expect.stringContaining('was imported with fewer than the 4 events') });
    await expect(historyOf(bank).run({ source: 'other-bank', events: items(1) })).rejects.toMatchObject(conflict);
    await expect(historyOf(bank).run({ source: SOURCE, events: [{ ...item(0), key: 'another' }] })).rejects.toMatchObject(conflict);
    await expect(historyOf(bank).run({ source: SOURCE, events: [item(20), { ...item(20), key: 'another' }] })).rejects.toMatchObject(conflict);
    expect(await historyOf(bank).run({ source: SOURCE, events: [item(21), item(21)] })).toEqual({ imported: 3, skipped: 3 });
  });

  it('that runs twice at once, in chunks of different sizes, imports each event once', async () => {
    const [one, other] = [await start(), backend.name === 'pglite' ? started[0]! : await start()];
    const both = await Promise.all([
      historyOf(one).run({ source: SOURCE, events: items(100), chunkSize: 30 }),
      historyOf(other).run({ source: SOURCE, events: items(100), chunkSize: 70 }),
    ]);
    expect(both.reduce((sum, { imported }) => sum + imported, 0)).toBe(300);
    expect(both.reduce((sum, { skipped }) => sum + skipped, 0)).toBe(300);
    expect(await streams(one)).toEqual(threeEach(100));
    expect(await one.db.getRepository(Directory).count({ where: { events: 3 } })).toBe(100);
  });

  it('passes over what another import has committed between its look and its append, and refuses what a command has', async () => {
    const bank = await start();
    const log = bank.app.get(EventLog);
    // The look is of before: it is answered with nothing.
    const stale = () => vi.spyOn(log, 'eventsAt').mockResolvedValueOnce([]);
    await historyOf(bank).run({ source: SOURCE, events: items(3) });
    await bank.commands.execute(new Open('old-5'));
    const spy = stale();
    expect(await historyOf(bank).run({ source: SOURCE, events: items(5) })).toEqual({ imported: 6, skipped: 9 });
    expect(spy).toHaveBeenCalledTimes(2);
    stale();
    await expect(historyOf(bank).run({ source: SOURCE, events: items(6) })).rejects.toMatchObject({ code: 'TANDEM_HISTORY_CONFLICT', data: { stream: 'account-old-5' } });
    spy.mockRestore();
  });

  it('ends where an immediate projection meets a conflict each time', async () => {
    const bank = await start();
    const fail = vi.spyOn(bank.faults, 'fail').mockImplementation(() => {
      throw new OptimisticConcurrencyError('a row');
    });
    await expect(historyOf(bank).run({ source: SOURCE, events: items(3) })).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT', data: { subject: 'a row' } });
    fail.mockRestore();
    expect(await streams(bank)).toEqual({});
  });

  it('looks and appends once for each chunk, and reads its source no further than that', async () => {
    const bank = await start();
    const log = bank.app.get(EventLog);
    const [look, append, appendLast] = [vi.spyOn(log, 'eventsAt'), vi.spyOn(log, 'append'), vi.spyOn(log, 'appendLast')];
    let read = 0;
    const ahead: number[] = [];
    async function* source() {
      for (const one of items(1_000, 0)) {
        read++;
        yield one;
      }
    }
    await historyOf(bank).run({ source: SOURCE, events: source(), chunkSize: 200, onProgress: ({ imported }) => ahead.push(read - imported) });
    expect(ahead).toEqual([1, 1, 1, 1, 0]);
    expect([look.mock.calls.length, append.mock.calls.length + appendLast.mock.calls.length]).toEqual([5, 5]);
    vi.restoreAllMocks();
  });

  it('keeps tenants apart', async () => {
    const bank = await start();
    const events = ['', 'acme', 'Acme'].map((tenant) => ({ ...item(1), tenant }));
    expect(await historyOf(bank).run({ source: SOURCE, events: events.slice(0, 2) })).toEqual({ imported: 6, skipped: 0 });
    expect(await historyOf(bank).run({ source: SOURCE, events })).toEqual({ imported: 3, skipped: 6 });
  });

  it('refuses items and options that make no history, and to be part of a unit of work', async () => {
    const bank = await start();
    class Plain {}
    const refused: readonly (readonly [object, string])[] = [
      [{ source: 'Legacy' }, '`source` is lower-case'],
      [{ chunkSize: 0 }, '`chunkSize` is a whole number'],
      [{ chunk: 5 }, 'there is no option `chunk`'],
      [{ events: [{ key: 'a', events: [] }] }, 'The item "a" of "legacy-bank" has no events'],
      [{ events: [{ key: '', events: [new Opened('a')] }] }, 'has no key'],
      [{ events: [{ key: 'a', events: [new Plain()] }] }, 'without @DomainEvent, Plain'],
      [{ events: [{ key: 'a', events: [new Opened('a'), new Opened('b')] }] }, 'two streams, account-a and account-b'],
      [{ events: [{ key: 'a', events: [new Opened('')] }] }, 'is not a stream name'],
      [{ events: [{ ...item(1), tenant: 'ü' }] }, 'the tenant is not'],
    ];
    for (const [own, why] of refused) {
      const run = historyOf(bank).run({ source: SOURCE, events: items(1), ...own });
      await expect(run).rejects.toThrow(why);
    }
    const inside = bank.app.get(UnitOfWork).run(() => historyOf(bank).run({ source: SOURCE, events: items(1) }));
    await expect(inside).rejects.toMatchObject({ code: 'TANDEM_HISTORY_REFUSED' });
    expect(await streams(bank)).toEqual({});
  });
});
