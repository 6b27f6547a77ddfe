import { Controller, Get, Param } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { found } from '../http/answers.js';
import { IdParam } from '../http/id-param.js';
import { CountrySalesAnswer, SpendingAnswer } from './orders.dto.js';
import { GetCountrySales } from './read/get-country-sales.js';
import { GetCustomerSpending } from './read/get-customer-spending.js';

@ApiTags('reports')
@Controller()
export class ReportsController {
  constructor(private readonly queries: QueryBus) {}

  @Get('customers/:id/spending')
  @ApiOperation({ summary: 'Shows what a customer bought and gave back' })
  @ApiOkResponse({ type: SpendingAnswer })
  async spending(@Param() { id }: IdParam): Promise<SpendingAnswer> {
    return found(await this.queries.execute(new GetCustomerSpending(id)), 'SHOP_CUSTOMER_NOT_FOUND', `customer "${id}"`);
  }

  @Get('reports/country-sales')
  @ApiOperation({ summary: 'Shows the sales of every country' })
  @ApiOkResponse({ type: [CountrySalesAnswer] })
  countrySales(): Promise<CountrySalesAnswer[]> {
    return this.queries.execute(new GetCountrySales());
  }
}
