import { type Delta, OnDelta, Projection, SyncStrategy } from 'nest-tandem';
import { negated } from '../../money/money.js';
import { OrderCancelled, OrderPlaced, ReturnRecorded } from '../order-events.js';
import { CustomerSpending } from './customer-spending.js';

/** A report that need not be of this second. Sales without a customer have a null key: they change no row here. */
@Projection('sales.by-customer', { entity: CustomerSpending, version: 1, sync: SyncStrategy.scheduled({ everyMs: 10_000 }) })
export class CustomerSpendingProjection {
  @OnDelta(OrderPlaced, { key: (e) => e.customerId })
  placed(row: Delta<CustomerSpending>, event: OrderPlaced) {
    row.add('orders', 1).add('spent', event.total);
  }

  @OnDelta(OrderCancelled, { key: (e) => e.customerId })
  cancelled(row: Delta<CustomerSpending>, event: OrderCancelled) {
    row.add('cancelled', 1).add('spent', negated(event.total));
  }

  @OnDelta(ReturnRecorded, { key: (e) => e.customerId })
  returned(row: Delta<CustomerSpending>, event: ReturnRecorded) {
    row.add('returns', 1).add('spent', negated(event.total));
  }
}
