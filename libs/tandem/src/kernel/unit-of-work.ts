/**
 * A *unit of work* is one transaction on one connection, carried by AsyncLocalStorage. Four kinds: `write` (a command: may
 * append events), `consumer` (a batch of a projection or saga: may not), `snapshot` (a query: READ ONLY, repeatable read),
 * `elsewhere` (a command on another data source than the log's: no events, no jobs).
 * States: open → committed | rolled back. An open unit may be *doomed*: the database has ended its transaction, whatever the
 * handler catches, so it can only roll back.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { TandemError } from './errors.js';

export type UnitKind = 'write' | 'consumer' | 'snapshot' | 'elsewhere';

/** What code adds to a unit's list, with where and when. */
interface Entry {
  readonly scope: UnitScope | undefined;
  readonly at: number;
  readonly value: unknown;
}

const AFTER_COMMIT = Symbol('tandem:after-commit');

/** One running transaction. Adapters subclass it with their connection. */
export abstract class Unit {
  /** What commit steps and stores keep about this unit (whether it was appended, positions written), each under a key of its own. */
  readonly notes = new Map<symbol, unknown>();
  private readonly lists = new Map<symbol, Entry[]>();
  private entries = 0;
  private closed = false;
  private settled = false;

  constructor(
    readonly kind: UnitKind,
    /** 1 for the first run of the handler, 2 for its first repeat, … */
    readonly attempt: number,
  ) {}

  /** Why the transaction can only roll back; undefined while it is well. */
  get doomedBy(): unknown {
    return undefined;
  }

  /** False from COMMIT or rollback on: code that still runs in the unit's scope has outlived it. */
  get isOpen(): boolean {
    return !this.closed;
  }

  close(): void {
    this.closed = true;
  }

  /** Adds to the list under `key`. A savepoint that is rolled back takes along what was added inside of it, and only that. */
  add(key: symbol, value: unknown): void {
    const entry: Entry = { scope: scopes.getStore(), at: this.entries++, value };
    const list = this.lists.get(key);
    if (list) list.push(entry);
    else this.lists.set(key, [entry]);
  }

  isEmpty(key: symbol): boolean {
    return (this.lists.get(key)?.length ?? 0) === 0;
  }

  listOf<T>(key: symbol): T[] {
    return this.lists.get(key)?.map(({ value }) => value as T) ?? [];
  }

  /** For adapters: what is added from now on, `forget` can tell from what was there. */
  mark(): number {
    return this.entries;
  }

  /** For adapters: forgets what was added in this scope, or in one inside of it, since the mark. */
  forget(scope: UnitScope, since = 0): void {
    for (const [key, list] of this.lists) {
      this.lists.set(
        key,
        list.filter((entry) => entry.at < since || !isWithin(entry.scope, scope)),
      );
    }
  }

  /** Runs after the outermost COMMIT, outside the unit, in order; an error in it is reported and never undoes the command. @throws TANDEM_UNIT_OF_WORK_CLOSED */
  afterCommit(task: () => unknown): void {
    if (this.settled) throw unitClosed();
    this.add(AFTER_COMMIT, task);
  }

  /** After COMMIT, or after rollback, which has no use for them: none is taken any more. */
  takeAfterCommitTasks(): (() => unknown)[] {
    this.settled = true;
    return this.listOf<() => unknown>(AFTER_COMMIT);
  }
}

/** `log`: the log, sagas, jobs and what commands write. `read`: projections and the read entities. Where the storage keeps both in one data source they are the same. */
export type Side = 'log' | 'read';

export interface UnitOptions {
  /** Default `write`; `elsewhere` follows from `dataSource`. */
  readonly kind?: UnitKind;
  /** Whose data source it runs on. Default `read` for a `snapshot`, else `log`. */
  readonly side?: Side;
  /** Name of a data source other than the log's, to run a `write` there: it may publish no events and queue no jobs. Default the log's own. */
  readonly dataSource?: string;
  /** How often the work may run in all when the database asks for a repeat (deadlock, lock time-out, serialization). Default 5. */
  readonly tries?: number;
  /** No repeat starts later than this, in milliseconds after the first start. Default 15,000. */
  readonly deadlineMs?: number;
  /**
   * The work finds out by itself whether an earlier run of it was committed, so it may run again where nobody can tell: after TANDEM_COMMIT_UNKNOWN, which is
   * then thrown only when no later run has found out. Default false.
   */
  readonly repeatUnknown?: boolean;
}

/** Runs inside the transaction when the work is done and before COMMIT: append the events, fold the immediate projections. */
export type CommitStep = (unit: Unit) => Promise<void>;

/**
 * Opens units of work. Port: filled by the storage adapter.
 * `run` throws what the work threw; TANDEM_COMMIT_FAILED, TANDEM_COMMIT_UNKNOWN, TANDEM_ACQUIRE_TIMEOUT, TANDEM_CONTENTION,
 * TANDEM_STORAGE_UNAVAILABLE of its own.
 */
export abstract class UnitOfWork {
  protected readonly commitSteps: CommitStep[] = [];
  protected lastStep: CommitStep | undefined;

  /**
   * Inside an open unit of the same kind: a savepoint in it. Otherwise a new transaction. A `snapshot` inside a `write` reads in the write's own transaction, unless the read
   * side has a data source of its own: then in a new one.
   */
  abstract run<T>(work: (unit: Unit) => Promise<T>, options?: UnitOptions): Promise<T>;

  /** True when the database asked for a repeat, went away or is full: not the fault of what ran. */
  abstract isTransient(error: unknown): boolean;

  /** Why no unit can run on the data source of this name, or undefined where one can. */
  problemOf(dataSource: string): string | undefined {
    return `there is no data source "${dataSource}"`;
  }

  /** Name of the data source of the read side, where that is not the log's. */
  get readDataSource(): string | undefined {
    return undefined;
  }

  /** The open unit that the caller runs in. @throws TANDEM_UNIT_OF_WORK_CLOSED when that unit, or the savepoint in it, has ended. */
  get current(): Unit | undefined {
    return openUnit();
  }

  /** The open `write` unit that the caller runs in; TANDEM_UNIT_OF_WORK_REQUIRED without one. @throws TANDEM_UNIT_OF_WORK_CLOSED as `current` does. */
  require(what: string): Unit {
    const unit = this.current;
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
  readonly isEnded?: boolean;
}

function isWithin(scope: UnitScope | undefined, outer: UnitScope): boolean {
  for (let place = scope; place; place = place.parent) if (place === outer) return true;
  return false;
}

/** For adapters: the scope that code runs in. */
export const scopes = new AsyncLocalStorage<UnitScope | undefined>();

/** As `UnitOfWork.current`. */
export function openUnit(): Unit | undefined {
  const scope = scopes.getStore();
  if (scope && (scope.isEnded || !scope.unit.isOpen)) throw unitClosed();
  return scope?.unit;
}

export const currentUnit = (): Unit | undefined => scopes.getStore()?.unit;

export const unitClosed = (): TandemError => new TandemError('TANDEM_UNIT_OF_WORK_CLOSED', 'This code outlived its unit of work: a timer, or a promise that nobody awaited');
