import type { ICommandHandler } from '@nestjs/cqrs';
import { CommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { MessageContext } from 'nest-tandem';
import { Repository } from 'typeorm';
import { Order } from '../orders/write/order.js';
import { ShopError } from '../shop-error.js';
import { User } from '../users/write/user.js';
import type { Mail } from './mailer.js';
import { Mailer } from './mailer.js';
import { SendOrderConfirmation } from './send-order-confirmation.js';

@CommandHandler(SendOrderConfirmation)
export class SendOrderConfirmationHandler implements ICommandHandler<SendOrderConfirmation> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly mailer: Mailer,
    private readonly context: MessageContext,
  ) {}

  /** @throws SHOP_ORDER_NOT_FOUND */
  async execute({ orderId }: SendOrderConfirmation): Promise<void> {
    const { idempotencyKey, signal } = this.context;
    const order = await this.orders.findOneBy({ id: orderId });
    if (!order) throw new ShopError('SHOP_ORDER_NOT_FOUND', `there is no order "${orderId}"`, { id: orderId });
    if (order.customerId === null) return;
    await this.mailer.send({
      to: await this.addressOf(order.customerId),
      subject: `Your order ${order.id}`,
      text: `Thank you for your order ${order.id} of ${order.placedAt.toISOString().slice(0, 10)}.\n\nTotal: ${order.total}\n`,
      idempotencyKey,
      signal,
    });
  }

  /** Customers of imported invoices have a number and no account: they get an address that leads nowhere. */
  private async addressOf(customerId: string): Promise<Mail['to']> {
    const user = await this.users.findOneBy({ id: customerId });
    return user ? { name: user.name, address: user.email } : { name: `Customer ${customerId}`, address: `${customerId}@customers.example` };
  }
}
