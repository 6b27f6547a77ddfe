/** What must not compile. `tsc` is the test: an error that is expected and does not come fails the type-check. */
import { describe, expect, it } from 'vitest';
import { DomainEvent } from '../../events/domain-event.js';
import type { EventMetadata } from '../../events/event-log.js';
import { On, onMarks } from '../../events/on.js';
import type { Delta } from './delta.js';
import { OnDelta } from './on-delta.js';
import { Projection, projectionOf } from './projection.js';

@DomainEvent('types.order-placed', { version: 1, stream: (e) => ['order', e.orderId] })
class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly country: string,
    readonly total: string,
  ) {}
}

@DomainEvent('types.user-created', { version: 1, stream: (e) => ['user', e.userId] })
class UserCreated {
  constructor(readonly userId: string) {}
}

class Sales {
  country!: string;
  day!: number;
  orders!: number;
  netSales!: string;
  refunded!: string | null;
  at!: Date;
}

@Projection('types.compiles', { entity: Sales, version: 1 })
class Compiles {
  @On(OrderPlaced)
  own(row: Sales, e: OrderPlaced) {
    row.netSales = e.total;
  }
  @On(OrderPlaced, { key: (e) => e.country, whenMissing: 'fail' })
  alone(row: Sales) {
    row.orders++;
  }
  @On(OrderPlaced, { key: (e) => ({ country: e.country, day: 1 }) })
  @On(UserCreated, { key: () => null })
  composite(_row: Sales, _e: OrderPlaced | UserCreated, meta: EventMetadata) {
    return void meta.version;
  }
  @On(OrderPlaced, {
    key: (e) => [
      { country: e.country, day: 1 },
      { country: 'all', day: 1 },
    ],
  })
  several(_row: Sales, _e: OrderPlaced) {}
  @OnDelta(OrderPlaced, { key: (e) => (e.country ? { country: e.country, day: 1 } : null) })
  adds(row: Delta<Sales>, e: OrderPlaced) {
    row.add('orders', 1).add('netSales', e.total).add('refunded', '0.5');
  }
  @OnDelta(OrderPlaced, { key: { lookup: async (events) => events.map((e) => (e.country ? { country: e.country } : null)) } })
  addsByLookup(row: Delta<Sales>) {
    row.add('orders', 1);
  }
}

@Projection('types.free', { version: 1, tables: [Sales] })
class Free {
  @On(OrderPlaced)
  async placed(_e: OrderPlaced, _meta: EventMetadata, _manager: unknown) {}
}

/** Not called: some of these throw. */
function optionsThatDoNotCompile() {
  // @ts-expect-error a table's name instead of its entity
  @Projection('types.named-table', { version: 1, tables: ['sales'] })
  class NamedTable {}

  // @ts-expect-error one entity instead of a list
  @Projection('types.one-table', { version: 1, tables: Sales })
  class OneTable {}

  // @ts-expect-error a misspelt option
  @Projection('types.misspelt', { version: 1, table: [Sales] })
  class MisspeltOption {}

  // @ts-expect-error a projection has a version
  @Projection('types.no-version', { tables: [Sales] })
  class NoVersion {}

  return [NamedTable, OneTable, MisspeltOption, NoVersion];
}

class DoesNotCompile {
  // @ts-expect-error a misspelt member of the event
  @On(OrderPlaced, { key: (e) => e.countri })
  misspeltMember(_row: Sales) {}

  // @ts-expect-error the method takes another event
  @On(OrderPlaced)
  anotherEvent(_row: Sales, _e: UserCreated) {}

  // @ts-expect-error the method takes another event, with options
  @On(OrderPlaced, { key: (e) => e.country })
  anotherEventByKey(_row: Sales, _e: UserCreated) {}

  // @ts-expect-error a key that the row does not have
  @On(OrderPlaced, { key: (e) => ({ contry: e.country }) })
  anotherKey(_row: Sales, _e: OrderPlaced) {}

  // @ts-expect-error a misspelt column of the row
  @OnDelta(OrderPlaced, { key: (e) => ({ country: e.country }) })
  noEvent(_row: Sales) {}

  // @ts-expect-error a key that the row does not have
  @OnDelta(OrderPlaced, { key: (e) => ({ contry: e.country }) })
  wrongKey(_row: Delta<Sales>, _e: OrderPlaced) {}

  // @ts-expect-error a key of another type
  @OnDelta(OrderPlaced, { key: () => ({ country: 17 }) })
  wrongKeyType(_row: Delta<Sales>, _e: OrderPlaced) {}

  // @ts-expect-error one of several keys that the row does not have
  @OnDelta(OrderPlaced, { key: (e) => [{ country: e.country }, { land: e.country }] })
  wrongKeyOfSeveral(_row: Delta<Sales>, _e: OrderPlaced) {}

  // @ts-expect-error a looked-up key that the row does not have
  @OnDelta(OrderPlaced, { key: { lookup: async (events) => events.map((e) => ({ contry: e.country })) } })
  wrongLookup(_row: Delta<Sales>, _e: OrderPlaced) {}

  // @ts-expect-error the method takes another event
  @OnDelta(OrderPlaced, { key: (e) => ({ country: e.country }) })
  wrongEvent(_row: Delta<Sales>, _e: UserCreated) {}

  // @ts-expect-error a delta needs a key
  @OnDelta(OrderPlaced, {})
  noKey(_row: Delta<Sales>, _e: OrderPlaced) {}

  columns(row: Delta<Sales>) {
    // @ts-expect-error a misspelt column
    row.add('order', 1);
    // @ts-expect-error a column that nothing can be added to
    row.add('at', 1);
    // @ts-expect-error an amount that is no number
    row.add('orders', new Date());
  }
}

describe('typed projections', () => {
  it('compile where rows, keys and events fit', () => {
    expect(onMarks(Compiles).map(({ method }) => method)).toEqual(['own', 'alone', 'composite', 'composite', 'several', 'adds', 'addsByLookup']);
    expect(onMarks(Free)).toHaveLength(1);
    expect(projectionOf(Free)?.tables).toEqual([Sales]);
    expect(optionsThatDoNotCompile).toBeTypeOf('function');
    expect(DoesNotCompile.name).toBe('DoesNotCompile');
  });
});
