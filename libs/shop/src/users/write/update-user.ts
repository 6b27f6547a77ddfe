import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { UserStore } from './user-store.js';

/** A new name, a new e-mail or both, in one unit of work: either all of it happens or nothing. */
export class UpdateUser extends Command<{ id: string }> {
  constructor(
    readonly id: string,
    readonly changes: { readonly name?: string; readonly email?: string },
  ) {
    super();
  }
}

@CommandHandler(UpdateUser)
export class UpdateUserHandler implements ICommandHandler<UpdateUser> {
  constructor(private readonly users: UserStore) {}

  async execute({ id, changes }: UpdateUser): Promise<{ id: string }> {
    const user = await this.users.load(id);
    if (changes.name !== undefined) user.rename(changes.name);
    if (changes.email !== undefined) user.changeEmail(changes.email);
    await this.users.save(user);
    return { id };
  }
}
