import type { Type } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../../test/support/bank-application.js';
import { type AccountView, Charge, GetAccount, Open } from '../../../../../test/support/bank.js';
import { sqlBackends, sqlServers, describeServers } from '../../../../../test/support/backends.js';
import type { Consumer } from '../../events/consumer.js';
import { ConsumerRegistry } from '../../events/consumer-registry.js';
import type { ConsumerSettings } from '../../events/consumer-settings.js';
import type { ConsumerStore } from '../../events/consumer-store.js';
import type { DeadLetterStore } from '../../events/dead-letter-store.js';
import { DeadLetters } from '../../events/dead-letters.js';
import { DomainEvent } from '../../events/domain-event.js';
import type { EventLog, ShardRange } from '../../events/event-log.js';
import { Clock } from '../../kernel/clock.js';
import type { Unit, UnitOfWork } from '../../kernel/unit-of-work.js';
import { Projections } from '../projection/rebuild/projections.js';
import { CacheInvalidation } from './cache-invalidation.js';
import { CacheReconciler } from './cache-reconciler.js';
import { InvalidationChannel } from './invalidation-channel.js';
import { QueryCache } from './query-cache.js';

const eventually = { timeout: 20_000, interval: 20 };

describe.each(sqlBackends())('a change that nobody told of on $name', (backend) => {
  let place: BankPlace;
  let bank: Bank;
  beforeEach(async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { consumerAttempts: 1 });
    vi.spyOn(bank.app.get(CacheInvalidation), 'changed').mockReturnValue();
  });
  afterEach(async () => {
    await bank.app.close();
    await place.remove();
  });
  const chargesOf = async (id: string) => (await bank.queries.execute<GetAccount, AccountView>(new GetAccount(id))).charges;

  it('is found by comparing with the checkpoints', async () => {
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    await bank.app.get(CacheReconciler).look();
    expect(await chargesOf('a')).toBe(0);
    await bank.commands.execute(new Charge('a', '1'));
    await bank.idle();
    await vi.waitFor(async () => expect(await chargesOf('a')).toBe(1), eventually);
  });

  it('is found when the rows were rebuilt', async () => {
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    await bank.db.query('UPDATE bank_account_view SET charges = 9');
    expect(await chargesOf('a')).toBe(9);
    await bank.app.get(CacheReconciler).look();
    expect(await chargesOf('a')).toBe(9);
    await bank.app.get(Projections).rebuild('bank.account-view');
    await vi.waitFor(async () => expect(await chargesOf('a')).toBe(0), eventually);
  });

  it('is found when a stream that was held back goes on', async () => {
    await bank.commands.execute(new Open('a'));
    bank.faults.poisonedView.add('a');
    await bank.commands.execute(new Charge('a', '1'));
    const letters = bank.app.get(DeadLetters);
    await vi.waitFor(async () => expect(await letters.list()).toMatchObject([{ state: 'parked' }]), eventually);
    const reconciler = bank.app.get(CacheReconciler);
    expect(await chargesOf('a')).toBe(0);
    await reconciler.look();
    expect(await chargesOf('a')).toBe(0);
    await reconciler.look();
    expect(await chargesOf('a')).toBe(0);

    bank.faults.poisonedView.clear();
    await letters.retry({ consumer: 'bank.account-view' });
    await bank.idle();
    await vi.waitFor(async () => expect(await chargesOf('a')).toBe(1), eventually);
  });
});

describeServers('two processes on $name', sqlServers(), (backend) => {
  it('agree although the one that projected ended before it told the other', async () => {
    const place = await bankPlace(backend);
    const [api, worker] = [await startBank(place, { role: 'api' }), await startBank(place, { role: 'worker' })];
    try {
      const publish = vi.spyOn(worker.app.get(InvalidationChannel), 'publish').mockResolvedValue();
      const viewOf = () => api.queries.execute<GetAccount, AccountView | null>(new GetAccount('a'));
      await api.commands.execute(new Open('a'));
      await worker.idle();
      await vi.waitFor(async () => expect(await viewOf()).toMatchObject({ charges: 0 }), eventually);
      await api.commands.execute(new Charge('a', '1'));
      await worker.idle();
      expect(publish).toHaveBeenCalled();
      await vi.waitFor(async () => expect(await viewOf()).toMatchObject({ charges: 1 }), eventually);
    } finally {
      await Promise.all([api.app.close(), worker.app.close()]);
      await place.remove();
    }
  });
});

@DomainEvent('reconciler.placed', { version: 1, stream: (e) => ['order', e.id] })
class Placed {
  constructor(readonly id: string) {}
}
class OrderView {}

describe('CacheReconciler', () => {
  const entities = new Set<Type>([OrderView]);
  const cache = { isEmpty: false, entities, invalidate: vi.fn(), invalidateUpTo: vi.fn() };
  let positions: Map<number, number>;
  let events: { shard: number; seq: number; type: string }[];
  let positionsAsked: ReturnType<typeof vi.fn>;
  let keysAsked: ReturnType<typeof vi.fn>;
  let reconciler: CacheReconciler;

  const handled = (shard: number, seq: number, type = 'reconciler.placed') => {
    events.push({ shard, seq, type });
    positions.set(shard, seq);
  };

  beforeEach(() => {
    vi.clearAllMocks();
    cache.isEmpty = false;
    positions = new Map([[0, 0]]);
    events = [];
    positionsAsked = vi.fn(async (names: readonly string[]) => new Map(names.map((name) => [name, new Map(positions)])));
    keysAsked = vi.fn(async (_unit: Unit, ranges: readonly ShardRange[]) =>
      events.filter((key) => ranges.some(({ shard, after, upTo }) => key.shard === shard && key.seq > after && key.seq <= upTo)),
    );
    const registry = new ConsumerRegistry();
    registry.add([{ name: 'orders.view', kind: 'projection', entities: [OrderView], events: [Placed] } as unknown as Consumer]);
    reconciler = new CacheReconciler(
      cache as unknown as QueryCache,
      registry,
      { positions: positionsAsked } as unknown as ConsumerStore,
      { list: async () => [] } as unknown as DeadLetterStore,
      { readKeys: keysAsked } as unknown as EventLog,
      { run: (work: (unit: Unit) => Promise<unknown>) => work({} as Unit) } as unknown as UnitOfWork,
      new Clock(),
      { reconcileEveryMs: 1 } as ConsumerSettings,
    );
  });

  it('drops what was read before the last event for a projection, and nothing for events of others', async () => {
    await reconciler.look();
    handled(0, 1);
    handled(0, 2);
    handled(0, 3, 'reconciler.other');
    handled(7, 1, 'reconciler.other');
    await reconciler.look();
    expect(cache.invalidateUpTo.mock.calls).toEqual([[['OrderView'], new Map([[0, 2]])]]);
    handled(7, 2, 'reconciler.other');
    await reconciler.look();
    await reconciler.look();
    expect(cache.invalidateUpTo).toHaveBeenCalledTimes(1);
    expect(keysAsked).toHaveBeenCalledTimes(2);
  });

  it('does not ask which of very many events were for it', async () => {
    handled(3, 100_000, 'reconciler.other');
    await reconciler.look();
    expect(cache.invalidateUpTo.mock.calls).toEqual([[['OrderView'], new Map([[3, 100_000]])]]);
    expect(keysAsked).not.toHaveBeenCalled();
  });

  it('asks nothing while no answer is kept', async () => {
    cache.isEmpty = true;
    await reconciler.look();
    expect(positionsAsked).not.toHaveBeenCalled();
  });

  it('looks again at what a failed look did not see, and goes on until it is stopped', async () => {
    await reconciler.look();
    handled(0, 1);
    keysAsked.mockRejectedValueOnce(new Error('the database is away'));
    reconciler.onApplicationBootstrap();
    await vi.waitFor(() => expect(cache.invalidateUpTo.mock.calls).toEqual([[['OrderView'], new Map([[0, 1]])]]));
    await reconciler.onModuleDestroy();
    expect(keysAsked).toHaveBeenCalledTimes(2);
  });
});
