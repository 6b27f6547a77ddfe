import { type Delta, OnDelta, Projection, SyncStrategy } from 'nest-tandem';
import { negated } from '../../money/money.js';
import { OrderCancelled, OrderPlaced, ReturnRecorded } from '../order-events.js';
import { CountrySales } from './country-sales.js';

/** Many orders and returns add to one row, in any order: in batches, so that a busy row is written once for hundreds of them. A cancelled order gives back its total and stays counted in `orders`. */
@Projection('sales.by-country', { entity: CountrySales, version: 1, sync: SyncStrategy.batched(500, { maxWaitMs: 2_000 }) })
export class CountrySalesProjection {
  @OnDelta(OrderPlaced, { key: (e) => ({ country: e.country }) })
  placed(row: Delta<CountrySales>, event: OrderPlaced) {
    row.add('orders', 1).add('netSales', event.total);
  }

  @OnDelta(OrderCancelled, { key: (e) => ({ country: e.country }) })
  cancelled(row: Delta<CountrySales>, event: OrderCancelled) {
    row.add('cancelled', 1).add('netSales', negated(event.total));
  }

  @OnDelta(ReturnRecorded, { key: (e) => ({ country: e.country }) })
  returned(row: Delta<CountrySales>, event: ReturnRecorded) {
    row.add('returns', 1).add('netSales', negated(event.total));
  }
}
