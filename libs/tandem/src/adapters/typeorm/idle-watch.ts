/**
 * Ends units of work in which nothing happens: the handler waits for what never comes, or for a statement that itself waits for
 * the handler's transaction() to end. Servers have such a limit too, but not all of them (PGlite, MySQL 8), and they only cut the
 * connection. One timer looks at all open units, so that a unit costs an entry in a map. It counts looks, not time: a process
 * that was stopped, or busy, has not been idle.
 */
import { TandemError } from '../../kernel/errors.js';

export interface WatchedUnit {
  /** Another number after each statement; undefined while one runs. */
  readonly activity: number | undefined;
  /** Whether a statement, or a transaction(), of this unit waits for a transaction() in it to end. */
  readonly isWaiting: boolean;
  /** Whether `giveUp` was called, by whomever. */
  readonly isGivenUp: boolean;
  /** Nothing can be committed any more: whatever the unit's code waits for of the unit rejects. */
  giveUp(error: TandemError): void;
  /** Ends the unit although its code has not come back. */
  leave(): void;
}

interface Seen {
  activity: number | undefined;
  quietLooks: number;
  isLeaving: boolean;
}

/** How many looks make the limit. The first comes at once or a pause later, so a unit ends within the limit and not after it. */
const LOOKS = 18;

export class IdleWatch {
  private readonly units = new Map<WatchedUnit, Seen>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly limitMs: number) {}

  add(unit: WatchedUnit): void {
    this.units.set(unit, { activity: unit.activity, quietLooks: 0, isLeaving: false });
    this.timer ??= setInterval(() => this.look(), this.limitMs / LOOKS).unref();
  }

  remove(unit: WatchedUnit): void {
    this.units.delete(unit);
  }

  private look(): void {
    if (this.units.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    for (const [unit, seen] of this.units) {
      if (unit.isGivenUp) {
        // A look later, so that code which has just been told of it ends by itself, with an error of its own.
        if (seen.isLeaving) unit.leave();
        seen.isLeaving = true;
      } else if (unit.activity === undefined || unit.activity !== seen.activity) {
        seen.activity = unit.activity;
        seen.quietLooks = 0;
      } else if (++seen.quietLooks >= LOOKS) unit.giveUp(unit.isWaiting ? this.waitsForItself() : this.isIdle());
    }
  }

  private isIdle(): TandemError {
    return new TandemError('TANDEM_UNIT_OF_WORK_STUCK', `Nothing was sent for about ${this.limitMs} ms in a unit of work, which was rolled back`);
  }

  private waitsForItself(): TandemError {
    const what = `A statement that was begun outside of a transaction() waits for it to end, and nothing was sent in it for about ${this.limitMs} ms: probably it waits for that very statement`;
    return new TandemError('TANDEM_UNIT_OF_WORK_STUCK', what, {
      next: 'Await the statement before transaction(), or begin it inside, with the manager that transaction() hands over.',
    });
  }
}
