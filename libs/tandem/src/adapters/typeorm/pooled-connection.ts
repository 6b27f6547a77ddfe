import type { QueryRunner } from 'typeorm';
import { isTandemError, TandemError } from '../../kernel/errors.js';
import { breakWhenSilent, NoAnswer } from '../../kernel/silent-socket.js';
import type { UnitKind } from '../../kernel/unit-of-work.js';
import type { Holder, PoolPlace } from './connection-pools.js';
import { linkTo, type DriverLink, type Sql } from './driver-link.js';
import { driverErrorOf, isConnectionLost, isInterrupted, isReadOnlyViolation, isRetryable, isServerError, isServerFull, serverFull } from './sql-errors.js';
import type { Dialect } from './statement-text.js';
import { withinTime } from './within-time.js';

const BEGIN: Record<Dialect, Record<UnitKind, readonly string[]>> = {
  // READ COMMITTED is the session's level: setting it here would cost a round trip for every command.
  mysql: {
    write: ['START TRANSACTION'],
    consumer: ['START TRANSACTION'],
    elsewhere: ['START TRANSACTION'],
    snapshot: ['SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY'],
  },
  postgres: {
    write: ['START TRANSACTION ISOLATION LEVEL READ COMMITTED'],
    consumer: ['START TRANSACTION ISOLATION LEVEL READ COMMITTED'],
    elsewhere: ['START TRANSACTION ISOLATION LEVEL READ COMMITTED'],
    snapshot: ['START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY'],
  },
};

/** Changes rows whatever else it does, so that without autocommit it begins a transaction, and its reply tells. */
const CHANGES_ROWS = /^\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b/i;

const PROBE = 'tandem_probe';

const ROLLS_BACK_TO_SAVEPOINT = /^\s*ROLLBACK\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b/i;

/** Why the transaction can no longer commit. `healable`: rolling back to a savepoint mends it (PostgreSQL). */
interface Doom {
  readonly cause: unknown;
  readonly healable: boolean;
}

/**
 * One connection of the pool, and at most one transaction on it. Statements run one after the other: pg refuses concurrent ones,
 * and on MySQL those queued behind a deadlock would run in autocommit. Every error is looked at: one that ended the transaction
 * dooms it, whatever the caller catches.
 */
export class PooledConnection implements Sql, Holder {
  private made: QueryRunner | undefined;
  private link: DriverLink | undefined;
  private doom: Doom | undefined;
  private broken: unknown;
  private active = false;
  private kind: UnitKind | undefined;
  private tail: Promise<unknown> = Promise.resolve();
  private stopListening: (() => void) | undefined;
  private statements = 0;
  private sending = false;
  /** No START TRANSACTION was sent, and no reply has yet told that one is open. */
  private begunByStatement = false;
  private releaseRunner: () => Promise<void> = async () => undefined;

  constructor(
    private readonly pool: PoolPlace,
    readonly dialect: Dialect,
    private readonly onLost?: () => void,
  ) {}

  /** Made when it is first asked for: a query that is answered without SQL needs none. */
  get runner(): QueryRunner {
    if (this.made) return this.made;
    this.made = this.pool.newRunner();
    this.releaseRunner = this.made.release.bind(this.made);
    return this.made;
  }

  /** The first statement of a unit of work begins its transaction, where that statement changes rows. */
  get beginsByItself(): boolean {
    return this.pool.beginsByItself;
  }

  /** @throws TANDEM_ACQUIRE_TIMEOUT, TANDEM_STORAGE_UNAVAILABLE */
  async connect(): Promise<void> {
    const { runner } = this;
    this.pool.enter(this);
    try {
      this.link = linkTo(await withinTime(runner.connect() as Promise<unknown>, this.pool, this.releaseRunner), this.dialect);
      this.stopListening = this.listenTo(this.link);
    } catch (error) {
      this.pool.leave(this);
      throw isTandemError(error) ? error : unavailable(error, this.pool);
    }
  }

  /** Hears of a loss that the driver notices, and notices one by itself where an answer does not come. */
  private listenTo(link: DriverLink): () => void {
    const stopListening = link.onLost((error) => this.lose(error));
    const limitMs = this.pool.answerTimeoutMs();
    if (limitMs === 0 || !link.socket) return stopListening;
    const stopWatching = breakWhenSilent(link.socket, { limitMs, isWaiting: () => this.sending || link.isSending });
    return () => {
      stopWatching();
      stopListening();
    };
  }

  /** @param first the statement that comes next, if there is one. @throws TANDEM_STORAGE_UNAVAILABLE when the connection turns out to be gone. */
  async begin(kind: UnitKind, first = ''): Promise<void> {
    this.kind = kind;
    try {
      this.begunByStatement = kind === 'write' && this.beginsByItself && CHANGES_ROWS.test(first);
      if (this.begunByStatement) this.linked.assumeInTransaction();
      else for (const text of BEGIN[this.dialect][kind]) await this.linked.send(text);
      this.active = true;
    } catch (error) {
      this.broken = error;
      throw isConnectionLost(error) ? unavailable(error, this.pool, staleness(error)) : error;
    }
  }

  query<R = unknown>(text: string, params?: readonly unknown[]): Promise<R> {
    return this.watch(text, () => this.send<R>(text, params));
  }

  /** Without its turn and without looking at errors: for what `watch` sends. */
  send<R>(text: string, params?: readonly unknown[]): Promise<R> {
    return this.linked.send(text, params) as Promise<R>;
  }

  /** For `watch`: sends what may commit half-way and then go on, in a transaction of its own, which no reply would tell. */
  async probe<R>(send: () => Promise<R>): Promise<R> {
    await this.linked.send(`SAVEPOINT ${PROBE}`);
    const reply = await send();
    try {
      await this.linked.send(`RELEASE SAVEPOINT ${PROBE}`);
    } catch (error) {
      this.doomWith(statementEndedIt(error));
      throw this.doomed();
    }
    return reply;
  }

  /** Sends a statement in its turn and sees what it does to the transaction. @throws TANDEM_UNIT_OF_WORK_DOOMED, TANDEM_QUERY_WROTE, and the driver's errors. */
  watch<R>(text: string, send: () => Promise<R>): Promise<R> {
    const mine = this.tail.then(async () => {
      const heals = ROLLS_BACK_TO_SAVEPOINT.test(text);
      if (this.active && this.doom && !(heals && this.doom.healable)) throw this.doomed();
      const reply = await this.sent(send);
      if (heals) this.doom = undefined;
      return reply;
    });
    this.tail = mine.catch(() => undefined); // the caller has the error; the next statement only waits for its turn
    return mine;
  }

  private async sent<R>(send: () => Promise<R>): Promise<R> {
    let reply: R;
    this.statements++;
    this.sending = true;
    try {
      reply = await send();
    } catch (error) {
      this.notice(error);
      // As if BEGIN had failed: nothing has happened that could be lost.
      if (this.begunByStatement && isConnectionLost(error)) throw unavailable(error, this.pool, staleness(error));
      if (this.active && this.kind === 'snapshot' && isReadOnlyViolation(error))
        throw new TandemError('TANDEM_QUERY_WROTE', 'A write was tried in a READ ONLY transaction', { cause: error });
      throw error;
    } finally {
      this.sending = false;
    }
    if (this.active) await this.seeTransaction(reply);
    return reply;
  }

  private async seeTransaction(reply: unknown): Promise<void> {
    const isOpen = this.linked.inTransaction(reply) !== false;
    if (!isOpen && this.begunByStatement) {
      // It changed only tables without transactions: nothing has begun yet.
      await this.linked.send(BEGIN[this.dialect].write[0]!);
    } else if (!isOpen) {
      this.doom = { cause: statementEndedIt(), healable: false };
      throw this.doomed();
    }
    this.begunByStatement = false;
  }

  /** Looks at an error that came back from the database and dooms the transaction that it ended. */
  notice(error: unknown): void {
    if (isConnectionLost(error)) this.lose(error);
    if (!this.active || (this.doom && !this.doom.healable)) return;
    if (isRetryable(error)) this.doom = { cause: error, healable: false };
    else if (this.dialect === 'postgres' && isServerError(error)) this.doom ??= { cause: error, healable: true };
  }

  private lose(error: unknown): void {
    this.broken ??= error;
    this.doom = { cause: error, healable: false };
    this.onLost?.();
  }

  /** Nothing mends this transaction any more. */
  doomWith(cause: unknown): void {
    if (!this.doom || this.doom.healable) this.doom = { cause, healable: false };
  }

  /** Another number after each statement of `watch`; undefined while one runs. */
  get activity(): number | undefined {
    return this.sending ? undefined : this.statements;
  }

  /** Why the transaction can only roll back, or undefined while it is well. */
  get doomedBy(): unknown {
    return this.doom?.cause;
  }

  doomed(): TandemError {
    const { cause } = this.doom!;
    const said = cause instanceof Error ? cause.message : String(cause);
    return new TandemError('TANDEM_UNIT_OF_WORK_DOOMED', `An earlier error ended this transaction (${said.slice(0, 200)})`, { cause });
  }

  /** Nothing, when `commitWith` has done it. @throws TANDEM_COMMIT_FAILED when nothing was written, TANDEM_COMMIT_UNKNOWN when nobody can tell. */
  async commit(): Promise<void> {
    if (!this.active) return;
    await this.readyToCommit();
    let committed: boolean;
    try {
      committed = await this.linked.commit();
    } catch (error) {
      if (isServerError(error) && !isConnectionLost(error)) throw new TandemError('TANDEM_COMMIT_FAILED', 'COMMIT was refused by the database', { cause: error });
      throw this.outcomeUnknown(error);
    }
    this.active = false;
    if (!committed) throw new TandemError('TANDEM_COMMIT_FAILED', 'The database answered COMMIT with ROLLBACK');
  }

  /** Sends a statement whose last act is COMMIT. @throws what `commit` throws, and the statement's own errors, after which nothing is written. */
  async commitWith<R>(text: string, params: readonly unknown[]): Promise<R> {
    await this.readyToCommit();
    let reply: R;
    try {
      reply = await this.send<R>(text, params);
    } catch (error) {
      // Interrupted, nobody knows on which side of the COMMIT inside.
      if (!isServerError(error) || isConnectionLost(error) || isInterrupted(error)) throw this.outcomeUnknown(error);
      this.notice(error);
      throw error;
    }
    if (this.linked.inTransaction() !== false) throw new TandemError('TANDEM_COMMIT_FAILED', 'The database did not commit what it was told to');
    this.active = false;
    return reply;
  }

  private async readyToCommit(): Promise<void> {
    await this.tail;
    if (this.doom) throw this.doomed();
    if (this.linked.inTransaction() === false) throw new TandemError('TANDEM_COMMIT_FAILED', 'The connection is no longer in the transaction that was begun on it');
  }

  private outcomeUnknown(cause: unknown): TandemError {
    this.lose(cause);
    this.active = false;
    return new TandemError('TANDEM_COMMIT_UNKNOWN', 'The connection was lost during COMMIT', { cause });
  }

  /** Never fails: where ROLLBACK cannot be sent the connection is cut, and the database rolls back by itself. */
  async rollback(): Promise<void> {
    if (!this.active) return;
    // On a lost connection the statement before may never come back.
    if (this.broken === undefined) await this.tail;
    this.active = false;
    if (this.broken !== undefined) return;
    try {
      await this.linked.send('ROLLBACK');
    } catch (error) {
      this.broken = error;
    }
  }

  /** Nothing more can be sent on this connection: it will be cut instead of going back to the pool. */
  spoil(reason: unknown): void {
    this.broken ??= reason;
  }

  /** Its pool is being closed: whoever still waits for the database is told so. */
  async cutOff(error: TandemError): Promise<void> {
    this.lose(error);
    await this.release();
  }

  async release(): Promise<void> {
    if (!this.link) return;
    this.pool.leave(this);
    this.stopListening?.();
    if (this.broken !== undefined) this.link.destroy();
    this.link = undefined;
    await this.releaseRunner();
  }

  private get linked(): DriverLink {
    if (!this.link) throw new TandemError('TANDEM_UNIT_OF_WORK_CLOSED', 'A statement came after its connection went back to the pool');
    return this.link;
  }
}

const statementEndedIt = (cause?: unknown): TandemError => new TandemError('TANDEM_DDL_REFUSED', 'A statement ended the transaction that it ran in', { cause });

/** The pool handed out a connection that had ended: another one may do. */
const STALE = { stale: true } as const;
/** What did not answer once has taken its time: the caller is told, and does not wait for another. */
const staleness = (error: unknown) => (driverErrorOf(error) instanceof NoAnswer ? {} : STALE);
export const isStaleConnection = (error: unknown): boolean => isTandemError(error, 'TANDEM_STORAGE_UNAVAILABLE') && error.data.stale === true;

function unavailable(error: unknown, pool: PoolPlace, data = {}): TandemError {
  // pg-pool's own time-out, where the application set one that is shorter than ours
  if (error instanceof Error && error.message === 'timeout exceeded when trying to connect') return pool.full();
  if (isServerFull(error)) return serverFull(error);
  return new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'No connection to the database', { cause: error, data });
}
