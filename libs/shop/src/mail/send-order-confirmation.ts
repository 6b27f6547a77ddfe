import { Command } from '@nestjs/cqrs';
import { QueuedCommand } from 'nest-tandem';

/** Carries the id only: jobs are kept for days, and names and addresses do not belong there. */
@QueuedCommand('orders.send-confirmation', { queue: 'mail', effect: 'external' })
export class SendOrderConfirmation extends Command<void> {
  constructor(readonly orderId: string) {
    super();
  }
}
