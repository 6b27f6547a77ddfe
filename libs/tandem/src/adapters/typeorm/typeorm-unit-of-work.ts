import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { Clock } from '../../kernel/clock.js';
import { isTandemError, TandemError, type TandemErrorCode } from '../../kernel/errors.js';
import { currentUnit, UnitOfWork, type Unit, type UnitKind, type UnitOptions } from '../../kernel/unit-of-work.js';
import { useFor } from './acquire.js';
import { IdleWatch } from './idle-watch.js';
import { lastActOf } from './last-acts.js';
import type { NamedDataSources } from './named-data-sources.js';
import { isStaleConnection } from './pooled-connection.js';
import { isConnectionLost, isDiskFull, isRetryable } from './sql-errors.js';
import { TypeOrmUnit, unitOn } from './typeorm-unit.js';

export interface TypeOrmUnitOfWorkOptions {
  /** How long nothing may be sent in an open unit before it is rolled back, in milliseconds. Default 9,000, after `handlerTimeoutMs` and before the limit that `tandemDataSource` sets in the database. */
  readonly idleTimeoutMs?: number;
  /** Where projections and snapshots run, if not on the log's data source. */
  readonly readSide?: NamedDataSource;
}

interface NamedDataSource {
  readonly name: string;
  readonly dataSource: DataSource;
}

interface UnitPlace {
  readonly on: DataSource;
  readonly kind: UnitKind;
}

type Work<T> = (unit: Unit) => Promise<T>;
type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown; readonly doomedBy: unknown };

const IDLE_TIMEOUT_MS = 9_000;
/** Nothing that the caller did wrong: the same may go well later. */
const TRANSIENT: readonly TandemErrorCode[] = ['TANDEM_STORAGE_UNAVAILABLE', 'TANDEM_ACQUIRE_TIMEOUT', 'TANDEM_COMMIT_UNKNOWN', 'TANDEM_CONTENTION'];
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/** Units of work on one joined data source. */
export class TypeOrmUnitOfWork extends UnitOfWork {
  private readonly logger = new Logger('Tandem');
  private readonly idleWatch: IdleWatch;
  private savepoints = 0;

  constructor(
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
    private readonly options: TypeOrmUnitOfWorkOptions = {},
    private readonly others?: NamedDataSources,
  ) {
    super();
    this.idleWatch = new IdleWatch(options.idleTimeoutMs ?? IDLE_TIMEOUT_MS);
  }

  async run<T>(work: Work<T>, options: UnitOptions = {}): Promise<T> {
    const place = this.placeFor(options);
    const across = this.unitAcross(place);
    if (across && place.kind === 'snapshot') return this.repeated(place, work, options);
    const around = across ?? unitOn(place.on, 'strictly');
    return around ? this.within(around, work, place) : this.repeated(place, work, options);
  }

  override get readDataSource(): string | undefined {
    return this.options.readSide?.name;
  }

  private placeFor({ kind = 'write', dataSource, side = kind === 'snapshot' ? 'read' : 'log' }: UnitOptions): UnitPlace {
    const home = (side === 'read' && this.options.readSide?.dataSource) || this.dataSource;
    const on = dataSource === undefined ? home : this.named(dataSource);
    return { on, kind: on === home ? kind : 'elsewhere' };
  }

  /** The open unit that the caller runs in, where that is one of the other side: a query inside a command, or a command inside a batch or query. */
  private unitAcross({ kind, on }: UnitPlace): TypeOrmUnit | undefined {
    const { readSide } = this.options;
    const unit = readSide && kind !== 'elsewhere' ? currentUnit() : undefined;
    if (!(unit instanceof TypeOrmUnit) || unit.kind === 'elsewhere' || unit.dataSource === on) return undefined;
    if (!unit.isOpen) throw unit.whyClosed();
    return unit;
  }

  override problemOf(dataSource: string): string | undefined {
    return this.others ? this.others.problemOf(dataSource) : super.problemOf(dataSource);
  }

  private named(name: string): DataSource {
    if (!this.others) throw new TandemError('TANDEM_WIRING', `A unit of work was to run on "${name}": ${super.problemOf(name)}`);
    return this.others.named(name);
  }

  isTransient(error: unknown): boolean {
    if (isTandemError(error) && TRANSIENT.includes(error.code)) return true;
    const cause = causeOf(error);
    return isRetryable(cause) || isConnectionLost(cause) || isDiskFull(cause);
  }

  private within<T>(around: TypeOrmUnit, work: Work<T>, { kind, on }: UnitPlace): Promise<T> {
    if (kind === 'snapshot') return work(around);
    if (kind === around.kind && on === around.dataSource) return this.savepoint(around, work);
    if (kind === 'consumer') throw new TandemError('TANDEM_SECOND_CONNECTION', `A consumer's batch was started inside a ${around.kind} unit of work`);
    if (around.kind === 'snapshot') throw new TandemError('TANDEM_QUERY_WROTE', 'A query handler executed a command');
    throw new TandemError('TANDEM_EVENT_OUTSIDE_COMMAND', "A command was executed inside a consumer's batch");
  }

  private savepoint<T>(unit: TypeOrmUnit, work: Work<T>): Promise<T> {
    const name = `tandem_${++this.savepoints}`;
    return unit.inSavepoint(async () => {
      const { sql } = unit;
      await sql.query(`SAVEPOINT ${name}`);
      try {
        const value = await work(unit);
        await sql.query(`RELEASE SAVEPOINT ${name}`);
        return value;
      } catch (error) {
        // A unit that cannot do it rolls back as a whole; what the work threw says more than that.
        await sql.query(`ROLLBACK TO SAVEPOINT ${name}`).catch((reason: unknown) => unit.connection.doomWith(reason));
        throw error;
      }
    });
  }

  private async repeated<T>({ on, kind }: UnitPlace, work: Work<T>, { tries = 5, deadlineMs = 15_000, repeatUnknown = false }: UnitOptions): Promise<T> {
    const deadline = this.clock.now() + deadlineMs;
    const { idleWatch } = this;
    const use = useFor(kind);
    let unknown: unknown;
    for (let attempt = 1; ; attempt++) {
      const unit = new TypeOrmUnit(on, { kind, attempt, use, idleWatch });
      const outcome = await this.once(unit, work);
      if (outcome.ok) {
        this.runAfterCommit(unit);
        return outcome.value;
      }
      if (repeatUnknown && isTandemError(outcome.error, 'TANDEM_COMMIT_UNKNOWN')) unknown = outcome.error;
      const isOpen = unknown !== undefined && this.leavesOpen(outcome.error);
      const pause = isStaleConnection(outcome.error) ? 0 : Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
      if (attempt >= tries || !(isOpen || mayRepeat(outcome)) || this.clock.now() + pause > deadline) throw isOpen ? unknown : finalError(outcome);
      await this.clock.sleep(pause);
    }
  }

  /** True for an error that says nothing about whether an earlier run was committed. */
  private leavesOpen(error: unknown): boolean {
    return this.isTransient(error) || isTandemError(error, 'TANDEM_COMMAND_IN_PROGRESS');
  }

  private async once<T>(unit: TypeOrmUnit, work: Work<T>): Promise<Outcome<T>> {
    const { connection } = unit;
    try {
      // A query that is answered without SQL takes no connection.
      if (unit.kind !== 'snapshot') await unit.open();
      const value = await unit.perform(() => work(unit));
      if (unit.kind === 'write') for (const step of this.commitSteps) await unit.perform(() => this.stepOf(unit, step));
      if (unit.kind === 'write' && this.lastStep) await unit.perform(() => this.stepOf(unit, this.lastStep!));
      const last = lastActOf(unit);
      if (last) await unit.perform(() => this.stepOf(unit, last));
      unit.end();
      if (unit.isBegun) await connection.commit();
      return { ok: true, value };
    } catch (error) {
      unit.close();
      unit.takeAfterCommitTasks(); // nobody runs them
      if (unit.isStreaming) connection.spoil(error); // ROLLBACK would wait behind rows that nobody reads
      await connection.rollback();
      return { ok: false, error, doomedBy: connection.doomedBy };
    } finally {
      await connection.release();
    }
  }

  private async stepOf(unit: TypeOrmUnit, step: (unit: Unit) => Promise<void>): Promise<void> {
    if (unit.connection.doomedBy !== undefined) throw unit.connection.doomed();
    await step(unit);
  }

  private runAfterCommit(unit: TypeOrmUnit): void {
    for (const task of unit.takeAfterCommitTasks()) this.outside(() => void this.reported(task));
  }

  /** The command has been committed: what follows it can fail, but not undo it. */
  private async reported(task: () => unknown): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.logger.error('A task after COMMIT failed; the command itself is done', error instanceof Error ? error.stack : String(error));
    }
  }
}

/** What the database said, where our own error only passes it on. */
const causeOf = (error: unknown): unknown => (isTandemError(error, 'TANDEM_UNIT_OF_WORK_DOOMED') || isTandemError(error, 'TANDEM_COMMIT_FAILED') ? error.cause : error);

function mayRepeat({ error, doomedBy }: Outcome<unknown> & { ok: false }): boolean {
  if (isTandemError(error, 'TANDEM_COMMIT_UNKNOWN')) return false;
  return isRetryable(causeOf(error)) || isRetryable(doomedBy) || isStaleConnection(error);
}

/** What the database did to the unit is told by codes of ours, so that callers need not know drivers' errors. */
function finalError({ error }: Outcome<unknown> & { ok: false }): unknown {
  if (isConnectionLost(causeOf(error))) return new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'The connection was lost inside a unit of work; it was rolled back', { cause: error });
  if (!isTandemError(error) && isRetryable(error))
    return new TandemError('TANDEM_CONTENTION', `Other transactions were in the way in every try: ${String(error)}`, { cause: error });
  return error;
}
