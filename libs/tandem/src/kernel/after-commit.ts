import { TandemError } from './errors.js';
import { currentMessage, currentNotes, runWithMessage } from './message-context.js';
import { openUnit } from './unit-of-work.js';

/**
 * Runs `task` once when the unit of work that the caller runs in has committed: after the outermost COMMIT, not when a transaction()
 * inside it ends, outside of the unit and with the `MessageContext` of the caller. What a savepoint undid, a try that was repeated, or a rollback takes its tasks along. The
 * command does not wait for it, and an error in it is logged and undoes nothing. A process that is killed in between never runs it:
 * what must not be lost is an event or a queued command. Tasks of one unit run in order; of two units, the one that committed first may
 * hear of it last, so what needs the order of the log is a consumer.
 * @example afterCommit(() => this.sessions.forget(userId));
 * @throws TANDEM_UNIT_OF_WORK_REQUIRED outside of a unit of work; TANDEM_UNIT_OF_WORK_CLOSED when it has ended.
 */
export function afterCommit(task: () => unknown): void {
  const unit = openUnit();
  if (!unit) throw new TandemError('TANDEM_UNIT_OF_WORK_REQUIRED', 'afterCommit() needs an open unit of work');
  const facts = currentMessage();
  const notes = currentNotes();
  unit.afterCommit(facts ? () => runWithMessage(facts, task, notes) : task);
}
