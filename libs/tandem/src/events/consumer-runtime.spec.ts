import { Injectable } from '@nestjs/common';
import { EventBus } from '@nestjs/cqrs';
import { EMPTY, NEVER } from 'rxjs';
import { Entity, type EntityManager, Like, PrimaryColumn } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Account, Charge, Charged, Letter, Open, Opened } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { Projection } from '../read/projection/projection.js';
import { SyncStrategy } from '../read/projection/sync-strategy.js';
import { DurableSaga } from '../write/saga/durable-saga.js';
import { Consumers } from './consumers.js';
import { DeadLetters } from './dead-letters.js';
import { ConsumerRuntime } from './consumer-runtime.js';
import { type EventMetadata, shardOf } from './event-log.js';
import { On } from './on.js';

/** Goes on after a statement that failed: MySQL's transaction survives that, PostgreSQL's does not. */
@Projection('spec.careless', { version: 1 })
class Careless {
  @On(Opened)
  async opened({ accountId }: Opened, _metadata: EventMetadata, manager: EntityManager): Promise<void> {
    if (accountId === 'careless') await manager.query('INSERT INTO nowhere VALUES (1)').catch(() => undefined);
    else await manager.insert(Letter, { accountId: `careless-${accountId}`, count: 1 });
  }
}

@Projection('spec.echo', { version: 1, sync: SyncStrategy.immediate() })
@Injectable()
class Echo {
  constructor(private readonly events: EventBus) {}
  @On(Opened)
  opened({ accountId }: Opened): void {
    this.events.publish(new Charged(accountId, '1'));
  }
}

@Projection('spec.hanging', { version: 1 })
class Hanging {
  static begun = false;
  static end: () => void;
  @On(Opened)
  async opened({ accountId }: Opened): Promise<void> {
    if (accountId !== 'hangs') return;
    Hanging.begun = true;
    await new Promise<void>((resolve) => (Hanging.end = resolve));
  }
}

@Projection('spec.hangs-on-retry', { version: 1 })
class HangsOnRetry {
  static tries = 0;
  static end: () => void;
  @On(Opened)
  async opened({ accountId }: Opened): Promise<void> {
    if (accountId !== 'hangs') return;
    if (HangsOnRetry.tries++ === 0) throw new Error('first');
    await new Promise<void>((resolve) => (HangsOnRetry.end = resolve));
  }
}

@Projection('spec.never', { version: 1 })
class Never {
  @On(Opened)
  async opened({ accountId }: Opened, _metadata: EventMetadata, manager: EntityManager): Promise<void> {
    if (accountId === 'never') await new Promise(() => undefined);
    await manager.insert(Letter, { accountId: `never-${accountId}`, count: 1 });
  }
}

@DurableSaga('spec.never-saga')
class NeverSaga {
  @On(Opened)
  opened({ accountId }: Opened) {
    return accountId === 'never' ? NEVER : EMPTY;
  }
}

@Entity('spec_never_row')
class NeverRow {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
}
@Projection('spec.never-lookup', { entity: NeverRow, version: 1, onError: 'park' })
class NeverLookup {
  @On(Opened, {
    key: { lookup: async (events) => (events.some(({ accountId }) => accountId === 'never') ? new Promise<null[]>(() => undefined) : events.map(({ accountId }) => accountId)) },
  })
  opened(): void {}
}

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 40_000, interval: 50 });

describe.each(sqlBackends())('consumers on $name', { timeout: 60_000 }, (backend) => {
  const started: Bank[] = [];
  let place: BankPlace;
  const start = async (...args: Parameters<typeof startBank>[1][]): Promise<Bank> => {
    place = await bankPlace(backend);
    for (const settings of args) started.push(await startBank(place, settings));
    return started.at(-1)!;
  };
  afterEach(async () => {
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await place.remove();
  });

  it('a handler that goes on after an error of SQL harms its own event only', async () => {
    const bank = await start({ providers: [Careless], consumerBackoffMs: 600_000, wakeUpWindowMs: 1_000 });
    const accounts = ['before', 'careless', 'after', 'last'];
    await Promise.all(accounts.map((id) => bank.commands.execute(new Open(id))));
    await eventually(async () => {
      const status = await bank.rows<{ n: unknown }>(
        'SELECT COUNT(*) AS n FROM bank_letter WHERE count = 1 AND ' + (backend.dialect === 'mysql' ? 'accountId' : '"accountId"') + " LIKE 'careless-%'",
      );
      expect(Number(status[0]!.n)).toBe(3);
      const letters = await bank.rows<{ stream: string; error: string }>("SELECT stream, error FROM tandem_dead_letter WHERE consumer = 'spec.careless'");
      expect(letters).toEqual(backend.dialect === 'mysql' ? [] : [{ stream: 'account-careless', error: expect.stringContaining('nowhere') }]);
    });
  });

  it('an immediate projection cannot publish: the command is refused instead of losing the event', async () => {
    const bank = await start({ providers: [Echo], role: 'api' });
    await expect(bank.commands.execute(new Open('echoed'))).rejects.toMatchObject({ code: 'TANDEM_EVENT_OUTSIDE_COMMAND' });
    expect(await bank.db.getRepository(Account).countBy({ id: 'echoed' })).toBe(0);
  });

  it('a method whose promise, Observable or lookup never settles fails its own event, and nothing else waits for it', async () => {
    const bank = await start({ providers: [Never, NeverSaga, NeverLookup], entities: [NeverRow], handlerTimeoutMs: 2_000, consumerAttempts: 1 });
    await Promise.all(['before', 'never', 'after'].map((id) => bank.commands.execute(new Open(id))));
    await eventually(async () => {
      const letters = await bank.rows('SELECT consumer, stream, state, error FROM tandem_dead_letter ORDER BY consumer');
      const parked = { stream: 'account-never', state: 'parked', error: expect.stringContaining('TANDEM_HANDLER_TIMEOUT') as string };
      expect(letters).toEqual(['spec.never', 'spec.never-lookup', 'spec.never-saga'].map((consumer) => ({ consumer, ...parked })));
    });
    await eventually(async () => {
      expect(await bank.rows('SELECT id FROM spec_never_row ORDER BY id')).toEqual([{ id: 'after' }, { id: 'before' }]);
      expect(await bank.db.getRepository(Letter).findBy({ accountId: Like('never-%') })).toHaveLength(2);
    });
  });

  // PGlite runs one transaction at a time: a batch that hangs there stops everything.
  it.runIf(backend.name !== 'pglite')('a consumer that does not get on keeps the reconciler from no other, and shutdown waits for it no longer than it may', async () => {
    const bank = await start({ providers: [Hanging], reconcileEveryMs: 50 });
    Hanging.begun = false;
    bank.faults.poisonedView.add('poisoned');
    await bank.commands.execute(new Open('hangs'));
    await eventually(async () => expect(Hanging.begun).toBe(true));
    await bank.commands.execute(new Open('poisoned'));
    await bank.commands.execute(new Charge('poisoned', '1'));
    await eventually(async () => expect(await bank.rows('SELECT stream FROM tandem_dead_letter')).toHaveLength(1));
    bank.faults.poisonedView.clear();
    await eventually(async () => expect(await bank.rows('SELECT stream FROM tandem_dead_letter')).toHaveLength(0));
    await bank.app.get(ConsumerRuntime, { strict: false }).stop(100);
    Hanging.end();
  });

  it.runIf(backend.name !== 'pglite')('a retry that does not return is not begun twice and keeps the reconciler from no other', async () => {
    const bank = await start({ providers: [HangsOnRetry], reconcileEveryMs: 50, handlerTimeoutMs: 600_000, drainTimeoutMs: 100 });
    HangsOnRetry.tries = 0;
    await bank.commands.execute(new Open('hangs'));
    await eventually(async () => expect(HangsOnRetry.tries).toBe(2));
    bank.faults.poisonedView.add('poisoned');
    await bank.commands.execute(new Open('poisoned'));
    await bank.commands.execute(new Charge('poisoned', '1'));
    const letters = () => bank.rows("SELECT stream FROM tandem_dead_letter WHERE consumer = 'bank.account-view'");
    await eventually(async () => expect(await letters()).toHaveLength(1));
    bank.faults.poisonedView.clear();
    await eventually(async () => expect(await letters()).toHaveLength(0));
    expect(HangsOnRetry.tries).toBe(2);
    HangsOnRetry.end();
  });

  it('a discarded event is passed over: its stream goes on behind it, and so does a consumer that halted at it', async () => {
    const bank = await start({ consumerAttempts: 1 });
    bank.faults.poisonedView.add('a');
    bank.faults.poisonedTotals.add('a');
    await bank.commands.execute(new Open('a'));
    await bank.commands.execute(new Charge('a', '1'));
    const letters = () => bank.rows('SELECT consumer, state FROM tandem_dead_letter ORDER BY consumer');
    await eventually(async () =>
      expect(await letters()).toEqual([
        { consumer: 'bank.account-view', state: 'parked' },
        { consumer: 'bank.totals', state: 'parked' },
      ]),
    );
    await bank.commands.execute(new Open('b'));
    const deadLetters = bank.app.get(DeadLetters, { strict: false });
    for (const consumer of ['bank.account-view', 'bank.totals']) expect(await deadLetters.discard({ consumer, stream: 'account-a' }, 'a test')).toBe(1);
    await bank.idle();
    expect(await bank.rows('SELECT id, charges FROM bank_account_view ORDER BY id')).toEqual([
      { id: 'a', charges: 0 },
      { id: 'b', charges: 0 },
    ]);
    expect(await bank.rows('SELECT accounts, charges FROM bank_totals')).toEqual([{ accounts: 1, charges: 1 }]);
    await expect(deadLetters.discard({ consumer: 'nobody', stream: 'x' }, 'y')).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
  });

  it('a hole in a shard is closed by its readers, and what follows it is folded', async () => {
    const bank = await start({});
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    await bank.db.query(`UPDATE tandem_shard SET head = head + 2 WHERE shard = ${shardOf('', 'account-a')}`);
    await Promise.all([new Open('b'), new Charge('a', '1')].map((command) => bank.commands.execute(command)));
    await bank.idle();
    expect(await bank.rows('SELECT id, charges FROM bank_account_view ORDER BY id')).toEqual([
      { id: 'a', charges: 1 },
      { id: 'b', charges: 0 },
    ]);
    expect(await bank.rows("SELECT type FROM tandem_event WHERE type = 'tandem.void'")).toHaveLength(2);
    expect(await bank.rows('SELECT id, events FROM bank_directory ORDER BY id')).toEqual([
      { id: 'a', events: 2 },
      { id: 'b', events: 1 },
    ]);
  });

  it('a consumer whose checkpoint is not of this log halts and says why', async () => {
    const bank = await start({});
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    await bank.db.query("UPDATE tandem_event SET event_id = 'another'");
    await bank.commands.execute(new Charge('a', '1'));
    const consumers = bank.app.get(Consumers, { strict: false });
    await eventually(async () => {
      const view = (await consumers.status()).find(({ consumer }) => consumer === 'bank.account-view');
      expect(view).toMatchObject({ state: 'halted', reason: expect.stringMatching(/^the log went back: event 1 of shard \d+ was \S+ and now is another/) as string });
    });
    expect(await bank.rows('SELECT charges FROM bank_account_view')).toEqual([{ charges: 0 }]);
  });

  it('a retried dead letter runs at once, long before a worker would look for itself', async () => {
    const bank = await start({ reconcileEveryMs: 600_000, consumerAttempts: 1 });
    bank.faults.poisonedView.add('poisoned');
    await bank.commands.execute(new Open('poisoned'));
    await bank.commands.execute(new Charge('poisoned', '1'));
    const letters = () => bank.rows('SELECT state FROM tandem_dead_letter');
    await eventually(async () => expect(await letters()).toEqual([{ state: 'parked' }]));
    bank.faults.poisonedView.clear();
    expect(await bank.app.get(DeadLetters, { strict: false }).retry({ consumer: 'bank.account-view' })).toBe(1);
    await eventually(async () => expect(await letters()).toEqual([]));
  });
});
