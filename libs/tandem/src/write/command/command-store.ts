/**
 * A *command id* names one wish of one caller. Its record is part of the unit of work that fulfils it: *taken* before the handler
 * runs, so that a repeat at the same time waits, and *completed* with the append, so that result, positions and effect commit
 * together or not at all. After a rollback the id is free again.
 */
import type { CommandKey } from '../../events/command-outcome.js';
import type { WrittenPositions } from '../../events/written.js';
import type { Unit } from '../../kernel/unit-of-work.js';

export interface NewCommand extends CommandKey {
  /** For messages: what kind of command it was. At most 120 characters. */
  readonly name: string;
  /** Of its name and content: a repeat has the same. 64 hexadecimal digits. */
  readonly fingerprint: string;
}

export interface RecordedCommand {
  readonly name: string;
  readonly fingerprint: string;
  /** Null where the unit itself has taken the id and is not at its end. */
  readonly result: string | null;
  readonly written: WrittenPositions;
}

/** Port. The outcomes of commands are written by `EventLog.append` and `appendLast`. */
export abstract class CommandStore {
  /**
   * Takes the id in the unit, which must be of kind `write`. Waits while another unit has it. Undefined when it was free; otherwise what was recorded under it.
   * @throws TANDEM_COMMAND_IN_PROGRESS when the other unit has not ended in time.
   */
  abstract take(unit: Unit, command: NewCommand): Promise<RecordedCommand | undefined>;

  /** Forgets ids that were taken longer ago than this, in small steps. Returns how many. */
  abstract sweep(keepMs: number): Promise<number>;
}
