import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { UserStore } from './user-store.js';

export class ChangeUserEmail extends Command<{ id: string }> {
  constructor(
    readonly id: string,
    readonly email: string,
  ) {
    super();
  }
}

@CommandHandler(ChangeUserEmail)
export class ChangeUserEmailHandler implements ICommandHandler<ChangeUserEmail> {
  constructor(private readonly users: UserStore) {}

  async execute({ id, email }: ChangeUserEmail): Promise<{ id: string }> {
    const user = await this.users.load(id);
    user.changeEmail(email);
    await this.users.save(user);
    return { id };
  }
}
