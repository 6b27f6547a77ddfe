import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { UserStore } from './user-store.js';

export class RenameUser extends Command<{ id: string }> {
  constructor(
    readonly id: string,
    readonly name: string,
  ) {
    super();
  }
}

@CommandHandler(RenameUser)
export class RenameUserHandler implements ICommandHandler<RenameUser> {
  constructor(private readonly users: UserStore) {}

  async execute({ id, name }: RenameUser): Promise<{ id: string }> {
    const user = await this.users.load(id);
    user.rename(name);
    await this.users.save(user);
    return { id };
  }
}
