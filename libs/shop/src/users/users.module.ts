import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CountUsersHandler } from './read/count-users.js';
import { EmailDirectoryProjection } from './read/email-directory-projection.js';
import { EmailDirectory } from './read/email-directory.js';
import { FindUserByEmailHandler } from './read/find-user-by-email.js';
import { GetUserHandler } from './read/get-user.js';
import { ListUsersHandler } from './read/list-users.js';
import { UserViewProjection } from './read/user-view-projection.js';
import { UserView } from './read/user-view.js';
import { UserCountConsistencyRule } from './user-count-consistency-rule.js';
import { UserNotifications } from './user-notifications.js';
import { UsersController } from './users.controller.js';
import { ChangeUserEmailHandler } from './write/change-user-email.js';
import { CreateUserHandler } from './write/create-user.js';
import { DeactivateUserHandler } from './write/deactivate-user.js';
import { RenameUserHandler } from './write/rename-user.js';
import { UpdateUserHandler } from './write/update-user.js';
import { UserStore } from './write/user-store.js';
import { User } from './write/user.js';

const commandHandlers = [CreateUserHandler, RenameUserHandler, ChangeUserEmailHandler, UpdateUserHandler, DeactivateUserHandler];
const queryHandlers = [GetUserHandler, ListUsersHandler, CountUsersHandler, FindUserByEmailHandler];
const consumers = [UserViewProjection, EmailDirectoryProjection, UserNotifications];

@Module({
  imports: [TypeOrmModule.forFeature([User, UserView, EmailDirectory])],
  controllers: [UsersController],
  providers: [UserStore, ...commandHandlers, ...queryHandlers, ...consumers, UserCountConsistencyRule],
})
export class UsersModule {}
