import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { storedSum } from '../../money/money.js';
import { CountrySales } from './country-sales.js';

export interface CountrySalesLine {
  readonly country: string;
  /** Orders ever placed, the cancelled ones too. */
  readonly orders: number;
  readonly returns: number;
  /** Placed − cancelled − returned, a decimal text with 4 places. */
  readonly netSales: string;
}

/** One line a country, in the order of their names. */
export class GetCountrySales extends Query<CountrySalesLine[]> {}

@QueryHandler(GetCountrySales)
@Reads(CountrySales)
@CacheResult()
export class GetCountrySalesHandler implements IQueryHandler<GetCountrySales> {
  constructor(@InjectRepository(CountrySales) private readonly rows: Repository<CountrySales>) {}

  async execute(): Promise<CountrySalesLine[]> {
    const rows = await this.rows.find({ order: { country: 'ASC' } });
    return rows.map(({ country, orders, returns, netSales }) => ({ country, orders, returns, netSales: storedSum(netSales) }));
  }
}
