import type { EventLog } from '../../events/event-log.js';
import type { CommandStore } from '../../write/command/command-store.js';
import type { UnitOfWork } from '../../kernel/unit-of-work.js';

/** A store without command ids, a log without events, and the units of work of the same database. */
export interface CommandsUnderTest {
  readonly commands: CommandStore;
  readonly log: EventLog;
  readonly units: UnitOfWork;
}
