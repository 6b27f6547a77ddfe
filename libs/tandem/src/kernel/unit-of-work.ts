/**
 * A *unit of work* is one transaction on one connection, carried by AsyncLocalStorage. Three kinds: `write` (a command: may
 * append events), `consumer` (a batch of a projection or saga: may not), `snapshot` (a query: READ ONLY, repeatable read).
 * States: open → committed | rolled back. An open unit may be *doomed*: the database has ended its transaction, whatever the
 * handler catches, so it can only roll back.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { TandemError } from './errors.js';

export type UnitKind = 'write' | 'consumer' | 'snapshot';

/** One running transaction. Adapters subclass it with their connection. */
export abstract class Unit {
  /** What commit steps and stores keep about this unit (pending events, positions written), each under a key of its own. */
  readonly notes = new Map<symbol, unknown>();
  private readonly afterCommitTasks: (() => void)[] = [];

  constructor(
    readonly kind: UnitKind,
    /** 1 for the first run of the handler, 2 for its first repeat, … */
    readonly attempt: number,
  ) {}

  /** Why the transaction can only roll back; undefined while it is well. */
  get doomedBy(): unknown {
    return undefined;
  }

  /** Runs after the outermost COMMIT, outside the unit, in order; an error in it is reported and never undoes the command. */
  afterCommit(task: () => void): void {
    this.afterCommitTasks.push(task);
  }

  /** A mark of what a savepoint must forget when it is rolled back. */
  mark(): UnitMark {
    return { tasks: this.afterCommitTasks.length, notes: new Map([...this.notes].map(([key, note]) => [key, Array.isArray(note) ? note.length : undefined])) };
  }

  /** Forgets what came since `mark`: after-commit tasks, and the tail of every note that is a list. */
  forget(mark: UnitMark): void {
    this.afterCommitTasks.length = mark.tasks;
    for (const [key, note] of this.notes) if (Array.isArray(note)) note.length = mark.notes.get(key) ?? 0;
  }

  takeAfterCommitTasks(): (() => void)[] {
    return this.afterCommitTasks.splice(0);
  }
}

export interface UnitMark {
  readonly tasks: number;
  readonly notes: ReadonlyMap<symbol, number | undefined>;
}

export interface UnitOptions {
  /** Default `write`. */
  readonly kind?: UnitKind;
  /** How often the work may run in all when the database asks for a repeat (deadlock, lock time-out, serialization). Default 5. */
  readonly tries?: number;
  /** No repeat starts later than this, in milliseconds after the first start. Default 15,000. */
  readonly deadlineMs?: number;
}

/** Runs inside the transaction when the work is done and before COMMIT: append the events, fold the immediate projections. */
export type CommitStep = (unit: Unit) => Promise<void>;

/**
 * Opens units of work. Port: filled by the storage adapter.
 * `run` throws what the work threw; TANDEM_COMMIT_FAILED, TANDEM_COMMIT_UNKNOWN, TANDEM_ACQUIRE_TIMEOUT,
 * TANDEM_STORAGE_UNAVAILABLE of its own.
 */
export abstract class UnitOfWork {
  protected readonly commitSteps: CommitStep[] = [];
  protected lastStep: CommitStep | undefined;

  /** Inside an open unit of the same kind: a savepoint in it. Otherwise a new transaction. A `snapshot` inside a `write` reads in the write's own transaction. */
  abstract run<T>(work: (unit: Unit) => Promise<T>, options?: UnitOptions): Promise<T>;

  /** True when the database asked for a repeat, went away or is full: not the fault of what ran. */
  abstract isTransient(error: unknown): boolean;

  /** The open unit that the caller runs in. */
  get current(): Unit | undefined {
    return currentUnit();
  }

  /** The open `write` unit that the caller runs in; TANDEM_UNIT_OF_WORK_REQUIRED without one. */
  require(what: string): Unit {
    const unit = currentUnit();
    if (!unit || unit.kind !== 'write') throw new TandemError('TANDEM_UNIT_OF_WORK_REQUIRED', `${what} needs an open unit of work`);
    return unit;
  }

  /** Runs `work` as if no unit were open: on a connection of its own, or after the unit has ended. */
  outside<T>(work: () => T): T {
    return scopes.run(undefined, work);
  }

  /** Adds a step to every `write` unit, in order of registration. */
  beforeCommit(step: CommitStep): void {
    this.commitSteps.push(step);
  }

  /** The step after all others: the append. Nothing follows it but COMMIT, which it may send itself, in the same round trip. */
  lastBeforeCommit(step: CommitStep): void {
    this.lastStep = step;
  }
}

/** A place in the nesting of savepoints: which unit, and what encloses it. */
export interface UnitScope {
  readonly unit: Unit;
  readonly parent?: UnitScope;
}

/** For adapters: the scope that code runs in. */
export const scopes = new AsyncLocalStorage<UnitScope | undefined>();

export const currentUnit = (): Unit | undefined => scopes.getStore()?.unit;
