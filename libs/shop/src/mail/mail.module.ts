import type { DynamicModule } from '@nestjs/common';
import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Order } from '../orders/write/order.js';
import { User } from '../users/write/user.js';
import { Mailer } from './mailer.js';
import { SendOrderConfirmationHandler } from './send-order-confirmation-handler.js';
import { SendWelcomeMailHandler } from './send-welcome-mail-handler.js';

export interface MailOptions {
  /** Folder that mails are written to; made when it is missing. */
  readonly outboxDir: string;
}

@Module({})
export class MailModule {
  static forRoot({ outboxDir }: MailOptions): DynamicModule {
    return {
      module: MailModule,
      imports: [TypeOrmModule.forFeature([User, Order])],
      providers: [{ provide: Mailer, useFactory: () => new Mailer(outboxDir) }, SendWelcomeMailHandler, SendOrderConfirmationHandler],
      exports: [Mailer],
    };
  }
}
