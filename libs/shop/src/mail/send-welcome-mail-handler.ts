import type { ICommandHandler } from '@nestjs/cqrs';
import { CommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { MessageContext } from 'nest-tandem';
import { Repository } from 'typeorm';
import { ShopError } from '../shop-error.js';
import { User } from '../users/write/user.js';
import { Mailer } from './mailer.js';
import { SendWelcomeMail } from './send-welcome-mail.js';

@CommandHandler(SendWelcomeMail)
export class SendWelcomeMailHandler implements ICommandHandler<SendWelcomeMail> {
  constructor(
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly mailer: Mailer,
    private readonly context: MessageContext,
  ) {}

  /** @throws SHOP_USER_NOT_FOUND */
  async execute({ userId }: SendWelcomeMail): Promise<void> {
    const { idempotencyKey, signal } = this.context;
    const user = await this.users.findOneBy({ id: userId });
    if (!user) throw new ShopError('SHOP_USER_NOT_FOUND', `there is no user "${userId}"`, { id: userId });
    await this.mailer.send({
      to: { name: user.name, address: user.email },
      subject: 'Welcome to the shop',
      text: `Hello ${user.name},\n\nyour account is ready.\n`,
      idempotencyKey,
      signal,
    });
  }
}
