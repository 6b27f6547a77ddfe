import { Command } from '@nestjs/cqrs';
import { QueuedCommand } from 'nest-tandem';

/** Carries the id only: jobs are kept for days, and names and addresses do not belong there. */
@QueuedCommand('users.send-welcome-mail', { queue: 'mail', effect: 'external' })
export class SendWelcomeMail extends Command<void> {
  constructor(readonly userId: string) {
    super();
  }
}
