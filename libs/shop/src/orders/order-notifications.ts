import { DurableSaga, On } from 'nest-tandem';
import { SendOrderConfirmation } from '../mail/send-order-confirmation.js';
import { OrderPlaced } from './order-events.js';

@DurableSaga('orders.notifications')
export class OrderNotifications {
  /** A sale over the counter has nobody to write to. */
  @On(OrderPlaced)
  confirm(event: OrderPlaced): SendOrderConfirmation | undefined {
    return event.customerId === null ? undefined : new SendOrderConfirmation(event.orderId);
  }
}
