import { Injectable } from '@nestjs/common';
import { RowCountRule } from 'nest-tandem';
import { UserView } from './read/user-view.js';
import { User } from './write/user.js';

/** As many users in the write model as in the read model. */
@Injectable()
export class UserCountConsistencyRule extends RowCountRule {
  constructor() {
    super('users.count', { write: User, read: UserView });
  }
}
