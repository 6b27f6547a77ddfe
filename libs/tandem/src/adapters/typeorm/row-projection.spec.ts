import fc from 'fast-check';
import { Big } from 'big.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Column, type DataSource, Entity, type EntityManager, In, PrimaryColumn } from 'typeorm';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { DomainEvent } from '../../events/domain-event.js';
import type { EventMetadata } from '../../events/event-log.js';
import { On } from '../../events/on.js';
import { Clock } from '../../kernel/clock.js';
import { Unit } from '../../kernel/unit-of-work.js';
import { Delta } from '../../read/projection/delta.js';
import { OnDelta } from '../../read/projection/on-delta.js';
import { projectionConsumer } from '../../read/projection/projection-consumer.js';
import { Projection } from '../../read/projection/projection.js';
import type { RowStore } from '../../read/projection/row-store.js';
import { consumed } from '../../testing/consumed.js';
import { InMemoryRowStore } from '../../testing/in-memory-row-store.js';
import { TypeOrmRowStore } from './row-store.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@DomainEvent('rows.placed', { version: 1, stream: (e) => ['order', e.id] })
class Placed {
  constructor(
    readonly id: string,
    readonly amount: string,
  ) {}
}
@DomainEvent('rows.marked', { version: 1, stream: (e) => ['order', e.id] })
class Marked {
  constructor(
    readonly id: string,
    readonly ids: readonly string[] | null,
    readonly mark: string,
  ) {}
}
@DomainEvent('rows.removed', { version: 1, stream: (e) => ['order', e.id] })
class Removed {
  constructor(readonly id: string) {}
}
@DomainEvent('rows.refunded', { version: 1, stream: (e) => ['payment', e.id] })
class Refunded {
  constructor(
    readonly id: string,
    readonly amount: string,
  ) {}
}
type Event = Placed | Marked | Removed | Refunded;

@Entity('order_row')
class OrderRow {
  @PrimaryColumn('varchar', { length: 10 }) id!: string;
  @Column('decimal', { precision: 24, scale: 4, default: 0 }) total!: string;
  @Column('varchar', { length: 200, default: '' }) marks!: string;
  @Column('int', { default: 0 }) changes!: number;
  @Column({ precision: 6, nullable: true }) at!: Date;
}

@Entity('amount_by_mark')
class AmountRow {
  @PrimaryColumn('varchar', { length: 10 }) id!: string;
  @PrimaryColumn('int') digit!: number;
  @Column('int', { default: 0 }) orders!: number;
  @Column('decimal', { precision: 24, scale: 4, default: 0 }) net!: string;
}

@Projection('rows.orders', { entity: OrderRow, version: 1 })
class Orders {
  @On(Placed)
  placed(row: OrderRow, e: Placed, meta: EventMetadata) {
    row.total = e.amount;
    row.at = meta.recordedAt;
    row.changes++;
  }
  @On(Marked, { key: (e) => e.ids, whenMissing: 'ignore' })
  marked(row: OrderRow, e: Marked) {
    row.marks = (row.marks + e.mark).slice(-200);
    row.changes++;
  }
  @On(Removed, { delete: true, whenMissing: 'ignore' })
  removed() {}
  @OnDelta(Refunded, { key: (e) => e.id })
  refunded(row: Delta<OrderRow>, e: Refunded) {
    row.add('total', `-${e.amount}`);
  }
}

@Projection('rows.amounts', { entity: AmountRow, version: 1, parallelism: 4 })
class Amounts {
  @OnDelta(Placed, { key: (e) => (e.amount.startsWith('9') ? null : { id: e.id, digit: 1 }) })
  placed(row: Delta<AmountRow>, e: Placed) {
    row.add('orders', 1).add('net', e.amount);
  }
  @OnDelta(Marked, { key: (e) => (e.ids ?? []).map((id, i) => ({ id, digit: i })) })
  marked(row: Delta<AmountRow>) {
    row.add('orders', -1);
  }
}

/** The same, event by event, written down without any of the machinery. */
function naive(events: readonly Event[]) {
  const orders = new Map<string, { id: string; total: string; marks: string; changes: number; at: Date | null }>();
  const amounts = new Map<string, { id: string; digit: number; orders: number; net: string }>();
  const order = (id: string) => orders.get(id) ?? { id, total: '0', marks: '', changes: 0, at: null };
  const add = (id: string, digit: number, count: number, net: string) => {
    const row = amounts.get(`${id} ${digit}`) ?? { id, digit, orders: 0, net: '0' };
    amounts.set(`${id} ${digit}`, { ...row, orders: row.orders + count, net: new Big(row.net).plus(net).toFixed() });
  };
  for (const [i, e] of events.entries()) {
    if (e instanceof Placed) {
      orders.set(e.id, { ...order(e.id), total: e.amount, at: new Date(i), changes: order(e.id).changes + 1 });
      if (!e.amount.startsWith('9')) add(e.id, 1, 1, e.amount);
    } else if (e instanceof Marked) {
      for (const id of new Set(e.ids)) if (orders.has(id)) orders.set(id, { ...order(id), marks: (order(id).marks + e.mark).slice(-200), changes: order(id).changes + 1 });
      for (const [at, id] of (e.ids ?? []).entries()) add(id, at, -1, '0');
    } else if (e instanceof Removed) orders.delete(e.id);
    else orders.set(e.id, { ...order(e.id), total: new Big(order(e.id).total).minus(e.amount).toFixed() });
  }
  return { orders: [...orders.values()], amounts: [...amounts.values()] };
}

const comparable = (rows: readonly object[]) =>
  rows
    .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, name === 'total' || name === 'net' ? new Big(value as string).toFixed(4) : value])))
    .map((row) => JSON.stringify(row, Object.keys(row).sort()))
    .sort();

const id = fc.constantFrom('a', 'b', 'c', 'd-1');
const amount = fc.tuple(fc.bigInt(0n, 10n ** 14n), fc.integer({ min: 0, max: 9_999 })).map(([whole, part]) => `${whole}.${String(part).padStart(4, '0')}`);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.tuple(id, amount).map(([a, b]) => new Placed(a, b)),
  fc.tuple(id, fc.option(fc.array(id, { maxLength: 3 })), fc.constantFrom('x', 'y', "'?")).map(([a, b, c]) => new Marked(a, b, c)),
  id.map((a) => new Removed(a)),
  fc.tuple(id, amount).map(([a, b]) => new Refunded(a, b)),
);
const history = fc.tuple(fc.array(event, { maxLength: 40 }), fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 40, maxLength: 40 }));

/** Events in batches of these sizes, recorded a millisecond apart. */
function* batches([events, sizes]: readonly [readonly Event[], readonly number[]]) {
  const all = events.map((each, i) => consumed(each, { recordedAt: new Date(i) }));
  for (let at = 0, i = 0; at < all.length; at += sizes[i++]!) yield all.slice(at, at + sizes[i]!);
}

interface Kept {
  readonly rows: RowStore;
  run(work: (unit: Unit) => Promise<void>): Promise<void>;
  read(entity: typeof OrderRow | typeof AmountRow): Promise<readonly object[]>;
}

async function keepsTheSameRows(kept: Kept, [events, sizes]: readonly [readonly Event[], readonly number[]]): Promise<void> {
  const consumers = [projectionConsumer(new Orders(), kept.rows), projectionConsumer(new Amounts(), kept.rows)];
  for (const batch of batches([events, sizes])) for (const consumer of consumers) await kept.run((unit) => consumer.handle(unit, batch));
  const expected = naive(events);
  expect(comparable(await kept.read(OrderRow))).toEqual(comparable(expected.orders));
  expect(comparable(await kept.read(AmountRow))).toEqual(comparable(expected.amounts));
}

class MemoryUnit extends Unit {}

describe('row projections', () => {
  it('leave the same rows in memory, however events fall into batches', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (example) => {
        const rows = new InMemoryRowStore([
          { entity: OrderRow, keys: ['id'], defaults: { total: '0', marks: '', changes: 0, at: null } },
          { entity: AmountRow, keys: ['id', 'digit'], defaults: { orders: 0, net: '0' } },
        ]);
        await keepsTheSameRows({ rows, run: (work) => work(new MemoryUnit('consumer', 1)), read: async (entity) => rows.rowsOf<object>(entity) }, example);
      }),
      { numRuns: 200 },
    );
  });
});

describe.each(sqlBackends())('row projections on $name', (backend) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let unitOfWork: TypeOrmUnitOfWork;

  beforeAll(async () => {
    database = await backend.create();
    dataSource = await tandemDataSource({ ...database.dataSourceOptions, entities: [OrderRow, AmountRow], synchronize: true } as never);
    await dataSource.initialize();
    unitOfWork = new TypeOrmUnitOfWork(dataSource, new Clock());
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  it('leave the same rows, however events fall into batches', async () => {
    const kept: Kept = {
      rows: new TypeOrmRowStore(dataSource),
      run: (work) => unitOfWork.run(work, { kind: 'consumer' }),
      read: (entity) => dataSource.manager.find<object>(entity),
    };
    await fc.assert(
      fc.asyncProperty(history, async (example) => {
        for (const entity of [OrderRow, AmountRow]) await dataSource.getRepository(entity).clear();
        await keepsTheSameRows(kept, example);
      }),
      { numRuns: 25 },
    );
  }, 240_000);

  it("give lookups and free projections the batch's own EntityManager", async () => {
    await dataSource.getRepository(OrderRow).clear();
    await dataSource.getRepository(AmountRow).clear();
    const rows = new TypeOrmRowStore(dataSource);

    @Projection('rows.free', { version: 1, tables: [OrderRow] })
    class Free {
      @On(Placed)
      async placed(e: Placed, meta: EventMetadata, manager: EntityManager) {
        await manager.insert(OrderRow, { id: e.id, total: e.amount, marks: 'FR', at: meta.recordedAt });
      }
    }
    @Projection('rows.by-lookup', { entity: AmountRow, version: 1 })
    class ByLookup {
      @OnDelta(Refunded, { key: { lookup: ordersOf } })
      refunded(row: Delta<AmountRow>, e: Refunded) {
        row.add('net', e.amount);
      }
    }
    async function ordersOf(events: readonly Refunded[], manager: EntityManager) {
      const found = await manager.findBy(OrderRow, { id: In(events.map((e) => e.id)) });
      return events.map((e) => found.filter((order) => order.id === e.id).map((order) => ({ id: order.marks, digit: 7 }))[0] ?? null);
    }

    const both = unitOfWork.run(
      async (unit) => {
        await projectionConsumer(new Free(), rows).handle(unit, [consumed(new Placed('o1', '1'))]);
        await projectionConsumer(new ByLookup(), rows).handle(unit, [consumed(new Refunded('o1', '0.5')), consumed(new Refunded('o1', '0.25'))]);
        await projectionConsumer(new ByLookup(), rows).handle(unit, [consumed(new Refunded('unknown', '1'))]);
      },
      { kind: 'consumer' },
    );
    await expect(both).rejects.toMatchObject({ failed: { stream: 'payment-unknown' }, cause: { code: 'TANDEM_ROW_MISSING' } });
    expect(await dataSource.getRepository(OrderRow).count()).toBe(0);

    await unitOfWork.run(
      async (unit) => {
        await projectionConsumer(new Free(), rows).handle(unit, [consumed(new Placed('o1', '1'))]);
        await projectionConsumer(new ByLookup(), rows).handle(unit, [consumed(new Refunded('o1', '0.5')), consumed(new Refunded('o1', '0.25'))]);
      },
      { kind: 'consumer' },
    );
    expect(await dataSource.getRepository(AmountRow).find()).toEqual([Object.assign(new AmountRow(), { id: 'FR', digit: 7, orders: 0, net: '0.7500' })]);
  });
});
