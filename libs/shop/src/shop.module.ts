import type { DynamicModule } from '@nestjs/common';
import { Module } from '@nestjs/common';
import type { MailOptions } from './mail/mail.module.js';
import { MailModule } from './mail/mail.module.js';
import { OrdersModule } from './orders/orders.module.js';
import { UsersModule } from './users/users.module.js';

export type ShopOptions = MailOptions;

/** All features of the shop. The application brings TypeOrmModule and TandemModule. */
@Module({})
export class ShopModule {
  static forRoot(options: ShopOptions): DynamicModule {
    const mail = MailModule.forRoot(options);
    return { module: ShopModule, imports: [UsersModule, OrdersModule, mail], exports: [mail] };
  }
}
