import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { OptimisticConcurrencyError } from 'nest-tandem';
import { Repository } from 'typeorm';
import { ShopError } from '../../shop-error.js';
import { Order } from './order.js';

/** The order stays, with status `cancelled`. Repeated, it changes nothing. */
export class CancelOrder extends Command<{ id: string }> {
  constructor(readonly id: string) {
    super();
  }
}

@CommandHandler(CancelOrder)
export class CancelOrderHandler implements ICommandHandler<CancelOrder> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly events: EventBus,
  ) {}

  /** @throws SHOP_ORDER_NOT_FOUND; OptimisticConcurrencyError when another command changed the order meanwhile */
  async execute({ id }: CancelOrder): Promise<{ id: string }> {
    // Locked, so that cancelling at once as somebody else is a repeat and not a conflict.
    const order = await this.orders.findOne({ where: { id }, lock: { mode: 'pessimistic_write' } });
    if (!order) throw new ShopError('SHOP_ORDER_NOT_FOUND', `there is no order "${id}"`, { id });
    const cancelled = order.cancel();
    if (!cancelled) return { id };
    const { version } = order;
    const result = await this.orders.update({ id, version }, { status: order.status, version: version + 1 });
    if (result.affected !== 1) throw new OptimisticConcurrencyError(`order-${id}`, { expected: version });
    this.events.publish(cancelled);
    return { id };
  }
}
