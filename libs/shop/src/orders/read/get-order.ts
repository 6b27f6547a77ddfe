import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { parseMoney } from '../../money/money.js';
import type { SalesLine } from '../sales-document.js';
import { OrderView } from './order-view.js';

export interface OrderDetails {
  readonly orderId: string;
  readonly customerId: string | null;
  readonly country: string;
  readonly status: 'placed' | 'cancelled';
  readonly placedAt: string;
  readonly total: string;
  readonly lines: SalesLine[];
}

export class GetOrder extends Query<OrderDetails | null> {
  constructor(readonly id: string) {
    super();
  }
}

@QueryHandler(GetOrder)
@Reads(OrderView)
@CacheResult()
export class GetOrderHandler implements IQueryHandler<GetOrder> {
  constructor(@InjectRepository(OrderView) private readonly views: Repository<OrderView>) {}

  async execute({ id }: GetOrder): Promise<OrderDetails | null> {
    const view = await this.views.findOneBy({ id });
    if (!view) return null;
    const { customerId, country, status, placedAt, total, lines } = view;
    return { orderId: id, customerId, country, status, placedAt: placedAt.toISOString(), total: parseMoney(total, 'total'), lines };
  }
}
