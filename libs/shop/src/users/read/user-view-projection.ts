import { type EventMetadata, On, Projection, SyncStrategy } from 'nest-tandem';
import { UserCreated, UserDeactivated, UserEmailChanged, UserRenamed } from '../user-events.js';
import { searchable } from './search-text.js';
import { UserView } from './user-view.js';

@Projection('users.user-view', { entity: UserView, version: 1, sync: SyncStrategy.eventual() })
export class UserViewProjection {
  @On(UserCreated)
  created(view: UserView, event: UserCreated, metadata: EventMetadata) {
    view.name = event.name;
    view.email = event.email;
    view.status = 'active';
    view.createdAt = metadata.recordedAt;
    view.searchText = searchable(view);
  }

  @On(UserRenamed, { whenMissing: 'fail' })
  renamed(view: UserView, event: UserRenamed) {
    view.name = event.name;
    view.searchText = searchable(view);
  }

  @On(UserEmailChanged, { whenMissing: 'fail' })
  emailChanged(view: UserView, event: UserEmailChanged) {
    view.email = event.email;
    view.searchText = searchable(view);
  }

  @On(UserDeactivated, { whenMissing: 'fail' })
  deactivated(view: UserView) {
    view.status = 'deactivated';
  }
}
