import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { UserStore } from './user-store.js';
import { User } from './user.js';

/** Repeated with the same content it answers as the first time. */
export class CreateUser extends Command<{ id: string }> {
  constructor(
    readonly id: string,
    readonly name: string,
    readonly email: string,
  ) {
    super();
  }
}

@CommandHandler(CreateUser)
export class CreateUserHandler implements ICommandHandler<CreateUser> {
  constructor(private readonly users: UserStore) {}

  async execute(command: CreateUser): Promise<{ id: string }> {
    const user = User.create(command);
    await this.users.add(user);
    return { id: user.id };
  }
}
