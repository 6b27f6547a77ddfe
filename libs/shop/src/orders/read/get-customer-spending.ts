import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { storedSum } from '../../money/money.js';
import { CustomerSpending } from './customer-spending.js';

export interface SpendingDetails {
  readonly customerId: string;
  /** Orders ever placed, the cancelled ones too. */
  readonly orders: number;
  readonly cancelled: number;
  readonly returns: number;
  /** Placed − cancelled − returned, a decimal text with 4 places. */
  readonly spent: string;
}

/** Null for a customer without an order or a return. */
export class GetCustomerSpending extends Query<SpendingDetails | null> {
  constructor(readonly customerId: string) {
    super();
  }
}

@QueryHandler(GetCustomerSpending)
@Reads(CustomerSpending)
@CacheResult()
export class GetCustomerSpendingHandler implements IQueryHandler<GetCustomerSpending> {
  constructor(@InjectRepository(CustomerSpending) private readonly rows: Repository<CustomerSpending>) {}

  async execute({ customerId }: GetCustomerSpending): Promise<SpendingDetails | null> {
    const row = await this.rows.findOneBy({ customerId });
    return row && { customerId, orders: row.orders, cancelled: row.cancelled, returns: row.returns, spent: storedSum(row.spent) };
  }
}
