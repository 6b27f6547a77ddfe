import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { OrderNotifications } from './order-notifications.js';
import { OrdersController } from './orders.controller.js';
import { CountrySalesProjection } from './read/country-sales-projection.js';
import { CountrySales } from './read/country-sales.js';
import { CustomerSpendingProjection } from './read/customer-spending-projection.js';
import { CustomerSpending } from './read/customer-spending.js';
import { GetCountrySalesHandler } from './read/get-country-sales.js';
import { GetCustomerSpendingHandler } from './read/get-customer-spending.js';
import { GetOrderHandler } from './read/get-order.js';
import { OrderViewProjection } from './read/order-view-projection.js';
import { OrderView } from './read/order-view.js';
import { ReportsController } from './reports.controller.js';
import { ReturnsController } from './returns.controller.js';
import { CancelOrderHandler } from './write/cancel-order.js';
import { OrderLine } from './write/order-line.js';
import { Order } from './write/order.js';
import { PlaceOrderHandler } from './write/place-order.js';
import { RecordReturnHandler } from './write/record-return.js';
import { ReturnLine } from './write/return-line.js';
import { Return } from './write/return.js';

const commandHandlers = [PlaceOrderHandler, CancelOrderHandler, RecordReturnHandler];
const queryHandlers = [GetOrderHandler, GetCustomerSpendingHandler, GetCountrySalesHandler];
const consumers = [OrderViewProjection, CustomerSpendingProjection, CountrySalesProjection, OrderNotifications];

@Module({
  imports: [TypeOrmModule.forFeature([Order, OrderLine, Return, ReturnLine, OrderView, CustomerSpending, CountrySales])],
  controllers: [OrdersController, ReturnsController, ReportsController],
  providers: [...commandHandlers, ...queryHandlers, ...consumers],
})
export class OrdersModule {}
