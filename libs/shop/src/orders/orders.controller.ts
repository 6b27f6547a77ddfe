import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AcceptsIdempotencyKey } from '../http/accepts-idempotency-key.js';
import { found, WrittenAnswer } from '../http/answers.js';
import { IdParam } from '../http/id-param.js';
import { OrderAnswer, PlaceOrderBody } from './orders.dto.js';
import { GetOrder } from './read/get-order.js';
import { CancelOrder } from './write/cancel-order.js';
import { PlaceOrder } from './write/place-order.js';

@ApiTags('orders')
@Controller('orders')
export class OrdersController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
  ) {}

  @Post()
  @AcceptsIdempotencyKey()
  @ApiOperation({ summary: 'Places an order; a confirmation mail follows. The same order again is accepted and changes nothing' })
  @ApiCreatedResponse({ type: WrittenAnswer })
  async place(@Body() { orderId, placedAt, customerId, country, lines }: PlaceOrderBody): Promise<WrittenAnswer> {
    const { id } = await this.commands.execute(new PlaceOrder({ id: orderId, customerId, country, at: placedAt, lines }));
    return { id };
  }

  @Get(':id')
  @ApiOperation({ summary: 'Shows an order' })
  @ApiOkResponse({ type: OrderAnswer })
  async get(@Param() { id }: IdParam): Promise<OrderAnswer> {
    return found(await this.queries.execute(new GetOrder(id)), 'SHOP_ORDER_NOT_FOUND', `order "${id}"`);
  }

  @Post(':id/cancel')
  @AcceptsIdempotencyKey()
  @HttpCode(200)
  @ApiOperation({ summary: 'Cancels an order: its total leaves the sums' })
  @ApiOkResponse({ type: WrittenAnswer })
  cancel(@Param() { id }: IdParam): Promise<WrittenAnswer> {
    return this.commands.execute(new CancelOrder(id));
  }
}
