import { On, Projection, SyncStrategy } from 'nest-tandem';
import { emailKey } from '../../values/email.js';
import { UserCreated, UserEmailChanged } from '../user-events.js';
import { EmailDirectory } from './email-directory.js';

/** Immediate: a sign-in right after the registration must find the address. */
@Projection('users.email-directory', { entity: EmailDirectory, version: 1, sync: SyncStrategy.immediate() })
export class EmailDirectoryProjection {
  @On(UserCreated, { key: (e) => emailKey(e.email) })
  created(row: EmailDirectory, event: UserCreated) {
    row.userId = event.userId;
  }

  /** No row to release when only the case of the address changed. */
  @On(UserEmailChanged, { key: (e) => (emailKey(e.previousEmail) === emailKey(e.email) ? null : emailKey(e.previousEmail)), whenMissing: 'fail', delete: true })
  released(_row: EmailDirectory, _event: UserEmailChanged) {}

  @On(UserEmailChanged, { key: (e) => emailKey(e.email) })
  taken(row: EmailDirectory, event: UserEmailChanged) {
    row.userId = event.userId;
  }
}
