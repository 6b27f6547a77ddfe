import { DurableSaga, On } from 'nest-tandem';
import { SendWelcomeMail } from '../mail/send-welcome-mail.js';
import { UserCreated } from './user-events.js';

@DurableSaga('users.notifications')
export class UserNotifications {
  @On(UserCreated)
  welcome(event: UserCreated): SendWelcomeMail {
    return new SendWelcomeMail(event.userId);
  }
}
