import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { UserStore } from './user-store.js';

/** The user stays, with status `deactivated`. Repeated, it changes nothing. */
export class DeactivateUser extends Command<{ id: string }> {
  constructor(readonly id: string) {
    super();
  }
}

@CommandHandler(DeactivateUser)
export class DeactivateUserHandler implements ICommandHandler<DeactivateUser> {
  constructor(private readonly users: UserStore) {}

  async execute({ id }: DeactivateUser): Promise<{ id: string }> {
    const user = await this.users.load(id);
    user.deactivate();
    await this.users.save(user);
    return { id };
  }
}
