import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { OptimisticConcurrencyError } from 'nest-tandem';
import { Repository } from 'typeorm';
import { insertOnce } from '../../persistence/insert-once.js';
import { ShopError } from '../../shop-error.js';
import { OrderPlaced } from '../order-events.js';
import type { GivenDocument } from '../sales-document.js';
import { salesDocument } from '../sales-document.js';
import { OrderLine } from './order-line.js';
import { Order } from './order.js';

export interface Written {
  readonly id: string;
  /** False when the same content was there already: the command was a repeat. */
  readonly created: boolean;
}

/** Repeated with the same content it is accepted and changes nothing. */
export class PlaceOrder extends Command<Written> {
  constructor(readonly order: GivenDocument) {
    super();
  }
}

@CommandHandler(PlaceOrder)
export class PlaceOrderHandler implements ICommandHandler<PlaceOrder> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    @InjectRepository(OrderLine) private readonly lines: Repository<OrderLine>,
    private readonly events: EventBus,
  ) {}

  /** @throws SHOP_INVALID; SHOP_ORDER_CONFLICT when there is an order of this id with other content */
  async execute(command: PlaceOrder): Promise<Written> {
    const document = salesDocument(command.order);
    const { id } = document;
    if (!(await insertOnce(this.orders, Order.place(document)))) {
      await this.mustBeTheSame(id, document.contentHash);
      return { id, created: false };
    }
    await this.lines.insert(OrderLine.allOf(document));
    this.events.publish(new OrderPlaced(document));
    return { id, created: true };
  }

  private async mustBeTheSame(id: string, contentHash: string): Promise<void> {
    const present = await this.orders.findOneBy({ id });
    if (!present) throw new OptimisticConcurrencyError(`order-${id}`, { expected: 'none' });
    if (present.contentHash !== contentHash) throw new ShopError('SHOP_ORDER_CONFLICT', `there is an order "${id}" with other content`, { id });
  }
}
