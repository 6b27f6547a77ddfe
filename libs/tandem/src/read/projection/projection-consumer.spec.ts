import { beforeEach, describe, expect, it, vi } from 'vitest';
import { EventFailure } from '../../events/consumer.js';
import { DomainEvent } from '../../events/domain-event.js';
import type { EventMetadata } from '../../events/event-log.js';
import { On } from '../../events/on.js';
import { currentMessage } from '../../kernel/message-context.js';
import { Unit } from '../../kernel/unit-of-work.js';
import { consumed } from '../../testing/consumed.js';
import { InMemoryRowStore } from '../../testing/in-memory-row-store.js';
import { Delta } from './delta.js';
import { OnDelta } from './on-delta.js';
import { projectionConsumer } from './projection-consumer.js';
import { Projection } from './projection.js';
import type { RowStore } from './row-store.js';
import { SyncStrategy } from './sync-strategy.js';

@DomainEvent('fold.placed', { version: 1, stream: (e) => ['order-line', e.id] })
class Placed {
  constructor(
    readonly id: string,
    readonly total: string,
    readonly countries: readonly string[] = [],
  ) {}
}
@DomainEvent('fold.cancelled', { version: 1, stream: (e) => ['order-line', e.id] })
class Cancelled {
  constructor(readonly id: string) {}
}
@DomainEvent('fold.removed', { version: 1, stream: (e) => ['order-line', e.id] })
class Removed {
  constructor(readonly id: string) {}
}

class View {
  id!: string;
  status!: string;
  total!: string;
  changes!: number;
}
class Sales {
  country!: string;
  orders!: number;
  net!: string;
}
class TestUnit extends Unit {}

@Projection('fold.views', { entity: View, version: 1 })
class Views {
  @On(Placed)
  placed(view: View, e: Placed, _meta: EventMetadata): unknown {
    if (e.total === 'boom') throw new Error('no such total');
    view.status = 'placed';
    view.total = e.total;
    return void view.changes++;
  }
  @On(Cancelled, { whenMissing: 'fail' })
  cancelled(view: View) {
    view.status = 'cancelled';
    view.changes++;
  }
  @On(Removed, { delete: true, whenMissing: 'ignore' })
  removed() {}
}

@Projection('fold.sales', { entity: Sales, version: 1, parallelism: 4 })
class SalesTotals {
  @OnDelta(Placed, { key: (e) => (e.countries.length > 0 ? e.countries : null) })
  placed(row: Delta<Sales>, e: Placed) {
    row.add('orders', 1).add('net', e.total);
  }
}

const rowStore = () =>
  new InMemoryRowStore([
    { entity: View, keys: ['id'], defaults: { status: 'new', total: '0', changes: 0 } },
    { entity: Sales, keys: ['country'], defaults: { orders: 0, net: '0' } },
  ]);

describe('projectionConsumer', () => {
  const unit = new TestUnit('consumer', 1);
  let rows: InMemoryRowStore;
  beforeEach(() => {
    rows = rowStore();
  });

  const handled = (instance: object, ...events: object[]) =>
    projectionConsumer(instance, rows).handle(
      unit,
      events.map((event) => consumed(event)),
    );

  it("takes the stream's id for the key, dashes and all", async () => {
    await handled(new Views(), new Placed('17-a', '1.5'), new Cancelled('17-a'));
    expect(rows.rowsOf(View)).toEqual([Object.assign(new View(), { id: '17-a', status: 'cancelled', total: '1.5', changes: 2 })]);
  });

  it('loads all rows of a batch at once and writes once', async () => {
    const load = vi.spyOn(rows, 'load');
    const write = vi.spyOn(rows, 'write');
    await handled(new Views(), new Placed('1', '1'), new Placed('2', '1'), new Cancelled('1'), new Removed('9'));
    expect(load).toHaveBeenCalledTimes(1);
    expect(write).toHaveBeenCalledTimes(1);
    expect(write.mock.calls[0]![2]).toMatchObject({ inserts: [{ key: { id: '1' } }, { key: { id: '2' } }], updates: [], deletes: [] });
    await handled(new Views(), new Cancelled('1'));
    expect(write.mock.calls[1]![2]).toMatchObject({ inserts: [], updates: [{ key: { id: '1' }, row: { status: 'cancelled' } }], deletes: [] });
  });

  it('sends no statement when there is nothing to do', async () => {
    const load = vi.spyOn(rows, 'load');
    const add = vi.spyOn(rows, 'add');
    await handled(new Views());
    await handled(new SalesTotals(), new Placed('1', '1'));
    expect(load).not.toHaveBeenCalled();
    expect(add).not.toHaveBeenCalled();
  });

  it('names the event that failed', async () => {
    const [good, bad] = [consumed(new Placed('1', '1')), consumed(new Placed('2', 'boom'))];
    const failure = await projectionConsumer(new Views(), rows)
      .handle(unit, [good, bad])
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EventFailure);
    expect(failure).toMatchObject({ failed: bad.stored, cause: { message: 'no such total' } });
    expect(rows.rowsOf(View)).toEqual([]);
  });

  it('fails an event whose row is missing where the method says so', async () => {
    await expect(handled(new Views(), new Cancelled('1'))).rejects.toMatchObject({ failed: { type: 'fold.cancelled' }, cause: { code: 'TANDEM_ROW_MISSING' } });
    await expect(handled(new Views(), new Placed('1', '1'), new Removed('1'), new Cancelled('1'))).rejects.toMatchObject({ cause: { code: 'TANDEM_ROW_MISSING' } });
  });

  it('makes a row anew that was deleted in the same batch, with its defaults', async () => {
    await handled(new Views(), new Placed('1', '1'), new Cancelled('1'));
    await handled(new Views(), new Removed('1'), new Placed('1', '2'));
    expect(rows.rowsOf(View)).toEqual([Object.assign(new View(), { id: '1', status: 'placed', total: '2', changes: 1 })]);
  });

  it('calls methods as they are now, so that spies work', async () => {
    const instance = new Views();
    const consumer = projectionConsumer(instance, rows);
    const spy = vi.spyOn(instance, 'placed');
    await consumer.handle(unit, [consumed(new Placed('1', '1'))]);
    expect(spy).toHaveBeenCalledOnce();
  });

  it('refuses methods that return a promise', async () => {
    const instance = new Views();
    vi.spyOn(instance, 'placed').mockReturnValue(Promise.reject(new Error('nobody waits for me')));
    await expect(handled(instance, new Placed('1', '1'))).rejects.toMatchObject({ cause: { code: 'TANDEM_WIRING', message: expect.stringContaining('synchronous') as string } });
  });

  it('refuses methods that change the key', async () => {
    const instance = new Views();
    vi.spyOn(instance, 'placed').mockImplementation((view: View) => void (view.id = 'other'));
    await expect(handled(instance, new Placed('1', '1'))).rejects.toMatchObject({ cause: { code: 'TANDEM_WIRING' } });
  });

  it('runs each event as the message that it is', async () => {
    const instance = new Views();
    const seen: unknown[] = [];
    vi.spyOn(instance, 'placed').mockImplementation(() => void seen.push(currentMessage()));
    await projectionConsumer(instance, rows).handle(unit, [
      consumed(new Placed('1', '1'), { eventId: 'e1', correlationId: 'c1', causationId: 'x1', actor: 'ann', tenant: 'acme' }),
    ]);
    expect(seen).toEqual([expect.objectContaining({ messageId: 'e1', correlationId: 'c1', causationId: 'x1', actor: 'ann', tenant: 'acme' })]);
  });

  it('sums deltas exactly, over several keys, and skips null', async () => {
    await handled(new SalesTotals(), new Placed('1', '0.1', ['FR', 'UK', 'FR']), new Placed('2', '0.2', ['FR']), new Placed('3', '1', []));
    await handled(new SalesTotals(), new Placed('4', '90071992547409930.0001', ['FR']));
    expect(rows.rowsOf(Sales)).toEqual([
      Object.assign(new Sales(), { country: 'FR', orders: 3, net: '90071992547409930.3001' }),
      Object.assign(new Sales(), { country: 'UK', orders: 1, net: '0.1' }),
    ]);
  });

  it.each(['1e3', '', 'NaN', '1.', '0x1', ' 1'])('refuses to add "%s"', async (total) => {
    await expect(handled(new SalesTotals(), new Placed('1', total, ['FR']))).rejects.toMatchObject({ cause: { code: 'TANDEM_PAYLOAD_REFUSED' } });
  });

  it.each([0.1, Number.NaN, 2 ** 53])('refuses to add the number %d', async (amount) => {
    const instance = new SalesTotals();
    vi.spyOn(instance, 'placed').mockImplementation((row: Delta<Sales>) => void row.add('net', amount));
    await expect(handled(instance, new Placed('1', '1', ['FR']))).rejects.toMatchObject({ cause: { code: 'TANDEM_PAYLOAD_REFUSED' } });
  });

  it('refuses to add to a column that the entity does not have', async () => {
    const instance = new SalesTotals();
    vi.spyOn(instance, 'placed').mockImplementation((row: Delta<Sales>) => void row.add('country', 1));
    await expect(handled(instance, new Placed('1', '1', ['FR']))).rejects.toMatchObject({ cause: { code: 'TANDEM_WIRING' } });
  });

  it.each([[''], [Number.NaN], [undefined], [{ country: 'FR', day: 'x' }], [{ land: 'FR' }], [{}]])('refuses %j as a key', async (key) => {
    const instance = new (projectionByKey(() => key as never))();
    await expect(handled(instance, new Placed('1', '1'))).rejects.toMatchObject({ failed: { type: 'fold.placed' }, cause: { code: 'TANDEM_PAYLOAD_REFUSED' } });
  });

  it('asks a lookup once per batch; null is a missing row, an empty list skips', async () => {
    const lookup = vi.fn(async (events: readonly Placed[]) => events.map((e) => (e.id === 'unknown' ? null : e.countries)));
    const instance = new (projectionByKey({ lookup }))();
    await handled(instance, new Placed('1', '1', ['FR']), new Cancelled('1'), new Placed('2', '1', ['FR', 'UK']), new Placed('3', '1', []));
    expect(lookup).toHaveBeenCalledTimes(1);
    expect(rows.rowsOf(Sales).map(({ country, orders }) => [country, orders])).toEqual([
      ['FR', 2],
      ['UK', 1],
    ]);
    await expect(handled(instance, new Placed('4', '1', ['FR']), new Placed('unknown', '1'))).rejects.toMatchObject({
      failed: { stream: 'order-line-unknown' },
      cause: { code: 'TANDEM_ROW_MISSING' },
    });
  });

  it('blames the event for a lookup that fails only when it asked alone', async () => {
    const instance = new (projectionByKey({ lookup: () => Promise.reject(new Error('away')) }))();
    await expect(handled(instance, new Placed('1', '1'))).rejects.toBeInstanceOf(EventFailure);
    await expect(handled(instance, new Placed('1', '1'), new Placed('2', '1'))).rejects.toThrow('away');
    const short = new (projectionByKey({ lookup: async () => [] }))();
    await expect(handled(short, new Placed('1', '1'), new Placed('2', '1'))).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
  });

  it('gives a free projection each event in turn with its EntityManager', async () => {
    const order: string[] = [];
    @Projection('fold.free', { version: 1, tables: [View] })
    class Free {
      @On(Placed)
      @On(Cancelled)
      async note(e: Placed | Cancelled, meta: EventMetadata, manager: unknown) {
        order.push(`begin ${e.id} ${meta.type} ${String(manager)}`);
        await new Promise((done) => setTimeout(done, e.id === '1' ? 5 : 0));
        if (e.id === 'bad') throw new Error('bad');
        order.push(`end ${e.id}`);
      }
    }
    await handled(new Free(), new Placed('1', '1'), new Removed('1'), new Cancelled('2'));
    expect(order).toEqual(['begin 1 fold.placed undefined', 'end 1', 'begin 2 fold.cancelled undefined', 'end 2']);
    await expect(handled(new Free(), new Cancelled('bad'))).rejects.toMatchObject({ failed: { type: 'fold.cancelled' }, cause: { message: 'bad' } });
    expect(projectionConsumer(new Free(), rows)).toMatchObject({ entities: [View], onError: 'park', events: [Cancelled, Placed] });
  });

  it('declares itself with safe defaults', () => {
    expect(projectionConsumer(new Views(), rows)).toMatchObject({
      name: 'fold.views',
      kind: 'projection',
      version: 1,
      startFrom: 'beginning',
      parallelism: 4,
      onError: 'park',
      runBy: 'worker',
      entities: [View],
      events: [Placed, Cancelled, Removed],
    });
    expect(projectionConsumer(new SalesTotals(), rows)).toMatchObject({ parallelism: 4, onError: 'halt' });
    const byKey = projectionByKey(() => 'FR', { parallelism: 3, sync: SyncStrategy.immediate() });
    expect(projectionConsumer(new byKey(), rows)).toMatchObject({ parallelism: 1, onError: 'halt', runBy: 'command' });
    expect(() => projectionConsumer({}, rows)).toThrow(/has no @Projection/);
  });

  it('runs one batch at a time where one row may have to give up a value before another takes it', () => {
    const constrained = Object.create(rows, { shape: { value: (entity: never) => ({ ...rows.shape(entity), constrained: true }) } }) as RowStore;
    expect(projectionConsumer(new Views(), constrained)).toMatchObject({ parallelism: 1 });
  });
});

function projectionByKey(key: NonNullable<Parameters<typeof OnDelta<Placed>>[1]>['key'], options: object = {}) {
  @Projection('fold.by-key', { entity: Sales, version: 1, ...options })
  class ByKey {
    @On(Placed, { key })
    placed(row: Sales) {
      row.orders++;
    }
  }
  return ByKey;
}
