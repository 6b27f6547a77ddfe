import { On, Projection, SyncStrategy } from 'nest-tandem';
import { OrderCancelled, OrderPlaced } from '../order-events.js';
import { OrderView } from './order-view.js';

@Projection('orders.order-view', { entity: OrderView, version: 1, sync: SyncStrategy.eventual() })
export class OrderViewProjection {
  @On(OrderPlaced)
  placed(view: OrderView, event: OrderPlaced) {
    view.customerId = event.customerId;
    view.country = event.country;
    view.status = 'placed';
    view.placedAt = new Date(event.placedAt);
    view.total = event.total;
    view.lines = [...event.lines];
  }

  @On(OrderCancelled, { whenMissing: 'fail' })
  cancelled(view: OrderView) {
    view.status = 'cancelled';
  }
}
