import { finished, type Readable } from 'node:stream';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import type { ConnectionUse } from '../../kernel/connection-use.js';
import { TandemError } from '../../kernel/errors.js';
import { scopes, Unit, unitClosed, type UnitKind } from '../../kernel/unit-of-work.js';
import { pooledConnection } from './acquire.js';
import { mayStandBeside, otherDataSource } from './data-source-names.js';
import type { IdleWatch, WatchedUnit } from './idle-watch.js';
import { NamedSavepoints, type SavepointAct } from './named-savepoints.js';
import { Place } from './place.js';
import type { PooledConnection } from './pooled-connection.js';
import { inspectStatement, mayCommitHalfWay } from './refused-statements.js';
import { bindUnit, type Sql } from './sql.js';

export interface TypeOrmUnitOptions {
  readonly kind: UnitKind;
  readonly attempt: number;
  /** Which pool the connection is of. */
  readonly use: ConnectionUse;
  readonly idleWatch?: IdleWatch;
}

/** The open unit on this data source that the caller runs in, if any. `strictly`: one on another data source is refused although that is allowed for statements. @throws TANDEM_UNIT_OF_WORK_CLOSED, TANDEM_OTHER_DATA_SOURCE */
export function unitOn(dataSource: DataSource, how?: 'strictly'): TypeOrmUnit | undefined {
  const unit = scopes.getStore()?.unit;
  if (!unit) return undefined;
  if (!(unit instanceof TypeOrmUnit) || unit.dataSource !== dataSource) {
    if (!how && mayStandBeside(dataSource)) return undefined;
    throw otherDataSource(dataSource, unit instanceof TypeOrmUnit ? unit.dataSource : undefined);
  }
  if (!unit.isOpen) throw unit.whyClosed();
  return unit;
}

/** One transaction on one connection. Every statement, of TypeORM or of our own, passes `statement`. */
export class TypeOrmUnit extends Unit implements WatchedUnit {
  readonly connection: PooledConnection;
  private readonly root = new Place(this);
  private innermost = this.root;
  private givenUp: TandemError | undefined;
  private rejectWork: ((error: TandemError) => void) | undefined;
  /** Statements of Tandem's own. */
  readonly sql: Sql;
  private readonly savepoints = new NamedSavepoints();
  private stream: Readable | undefined;
  private watched: QueryRunner | undefined;
  private connected: Promise<void> | undefined;
  private begun: Promise<void> | undefined;

  constructor(
    readonly dataSource: DataSource,
    private readonly options: TypeOrmUnitOptions,
  ) {
    super(options.kind, options.attempt);
    this.connection = pooledConnection(dataSource, options.use, () => this.giveUp(this.connection.doomed()));
    this.sql = {
      dialect: this.connection.dialect,
      query: <R>(text: string, params?: readonly unknown[]) => this.inTurn(text, () => this.connection.send<R>(text, params)),
    };
    bindUnit(this, {
      dataSource,
      sql: this.sql,
      manager: () => this.runner.manager,
      commitWith: <R>(text: string, params: readonly unknown[]) => this.commitWith<R>(text, params),
    });
  }

  get runner(): QueryRunner {
    this.watched ??= this.watchRunner();
    return this.watched;
  }

  override get doomedBy(): unknown {
    return this.connection.doomedBy;
  }

  /** Whether anything was sent, so that there is something to commit. */
  get isBegun(): boolean {
    return this.begun !== undefined;
  }

  get isStreaming(): boolean {
    return this.stream !== undefined && !this.stream.readableEnded && !this.stream.destroyed;
  }

  /** Takes the connection, once; nothing is sent on it. */
  connect(): Promise<void> {
    this.connected ??= (async () => {
      void this.runner; // watched before anything is sent on it
      await this.connection.connect();
      this.options.idleWatch?.add(this);
    })();
    return this.connected;
  }

  /** Takes the connection and begins the transaction, unless its first statement does. */
  open(): Promise<void> {
    return this.kind === 'write' && this.connection.beginsByItself ? this.connect() : this.begin();
  }

  /** Takes the connection and begins the transaction, once. @param first the statement that is sent next. */
  private begin(first?: string): Promise<void> {
    this.begun ??= (async () => {
      await this.connect();
      await this.connection.begin(this.kind, first);
    })();
    return this.begun;
  }

  /** Runs the unit's work in its scope and waits for savepoints that the work did not wait for. @throws also when the unit was left. */
  perform<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.rejectWork = reject;
      this.toItsEnd(this.root, work).then(resolve, reject);
    });
  }

  private toItsEnd<T>(place: Place, work: () => Promise<T>): Promise<T> {
    return scopes.run(place, async () => {
      const result = await work();
      while (this.innermost !== place) await this.turnOf(place);
      return result;
    });
  }

  get activity(): number | undefined {
    return this.isStreaming ? undefined : this.connection.activity;
  }

  get isWaiting(): boolean {
    return this.places().some(({ isWaitedFor }) => isWaitedFor);
  }

  get isGivenUp(): boolean {
    return this.givenUp !== undefined;
  }

  giveUp(error: TandemError): void {
    if (this.givenUp) return;
    this.givenUp = error;
    this.connection.doomWith(error);
    for (const place of this.places()) place.refuse(error);
  }

  leave(): void {
    this.rejectWork?.(this.whyClosed());
  }

  /** What code is told that comes too late. */
  whyClosed(): TandemError {
    return this.givenUp ?? unitClosed();
  }

  /** The work is done: nothing but COMMIT is sent any more. @throws TANDEM_STREAM_OPEN */
  end(): void {
    if (this.isStreaming) throw new TandemError('TANDEM_STREAM_OPEN', 'The handler returned while its stream was still being read');
    this.close();
  }

  /** Later statements are refused. */
  override close(): void {
    super.close();
    this.options.idleWatch?.remove(this);
    for (const place of this.places()) place.end();
  }

  /** The open ones, from the innermost outwards. */
  private places(): Place[] {
    const places: Place[] = [];
    for (let place: Place | undefined = this.innermost; place; place = place.parent) places.push(place);
    return places;
  }

  /** Runs `work` inside a savepoint that it makes and ends itself. Savepoints of one place run one after the other; what was added to the unit's lists inside a failed one is forgotten. */
  async inSavepoint<T>(work: () => Promise<T>): Promise<T> {
    const parent = (scopes.getStore() as Place | undefined) ?? this.root;
    while (this.innermost !== parent) await this.turnOf(parent);
    const place = new Place(this, parent);
    this.innermost = place;
    const { count } = this.savepoints;
    try {
      return await this.toItsEnd(place, work);
    } catch (error) {
      this.forget(place);
      throw error;
    } finally {
      // Of a unit that was given up, nobody's turn comes any more: the refusal that ends this wait is told to the code itself.
      while (this.innermost !== place && this.isOpen && !this.givenUp) await this.innermost.toEnd().catch(() => undefined);
      this.innermost = parent;
      this.savepoints.keep(count);
      place.end();
    }
  }

  /** Sends a statement of the application. @throws TANDEM_DDL_REFUSED, and what `inTurn` throws. */
  async statement<T>(text: string, send: () => Promise<T>): Promise<T> {
    if (!this.isOpen) throw this.whyClosed();
    const act = inspectStatement(text, this.connection.dialect);
    if (act) return this.savepointAct(act, text, send);
    return this.inTurn(text, this.connection.beginsByItself && mayCommitHalfWay(text) ? () => this.connection.probe(send) : send);
  }

  private async savepointAct<T>(act: SavepointAct, text: string, send: () => Promise<T>): Promise<T> {
    const scope = scopes.getStore() ?? this.root;
    try {
      return await this.inTurn(text, async () => {
        this.savepoints.check(act);
        const reply = await send();
        this.savepoints.note(act, this, scope);
        return reply;
      });
    } catch (error) {
      // What should have been undone is still there, whoever catches this.
      if (act.kind === 'back') this.connection.doomWith(error);
      throw error;
    }
  }

  /** Ends the unit with a statement that also commits, so that append and COMMIT are one round trip. @throws what `end` and COMMIT throw, and the statement's own errors. */
  private async commitWith<R>(text: string, params: readonly unknown[]): Promise<R> {
    await this.begin();
    this.end();
    return this.connection.commitWith<R>(text, params);
  }

  /** Sends a statement when it is its place's turn. @throws TANDEM_UNIT_OF_WORK_CLOSED, TANDEM_UNIT_OF_WORK_DOOMED, TANDEM_STREAM_OPEN, and what sending it throws. */
  private async inTurn<T>(text: string, send: () => Promise<T>): Promise<T> {
    const place = scopes.getStore() as Place | undefined;
    while (place?.unit === this && this.innermost !== place) await this.turnOf(place);
    this.refuseUnusable();
    await this.begin(text);
    return this.connection.watch(text, () => {
      this.refuseUnusable(); // while it waited for its turn on the connection the unit may have ended
      return send();
    });
  }

  /** Call it in a loop: of several that wait, the first to go on may have opened a savepoint again. */
  private turnOf(place: Place): Promise<void> {
    if (this.givenUp) throw this.givenUp;
    if (place.isEnded) throw unitClosed();
    return this.innermost.toEnd();
  }

  private refuseUnusable(): void {
    if (!this.isOpen) throw this.whyClosed();
    if (this.isStreaming) throw new TandemError('TANDEM_STREAM_OPEN', 'A statement was sent while a stream is read on the only connection of its unit of work');
  }

  private watchRunner(): QueryRunner {
    const { runner } = this.connection;
    // TypeORM must take us for a transaction that it has begun itself: its own transaction() then makes a savepoint.
    Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
    const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
    const stream = runner.stream.bind(runner);
    const transaction = runner.manager.transaction.bind(runner.manager) as (...args: unknown[]) => Promise<unknown>;
    const watched = {
      query: (text: string, ...rest: unknown[]) => this.statement(text, () => query(text, ...rest)),
      stream: (text: string, ...rest: [unknown[]?, (() => void)?, ((error: Error) => void)?]) => this.statement(text, async () => this.watchStream(await stream(text, ...rest))),
      // The connection is the unit's to give back, not that of a handler that calls manager.release().
      release: async () => undefined,
    };
    Object.assign(runner, watched);
    this.keepUntilClosed(runner);
    Object.assign(runner.manager, { transaction: (...args: unknown[]) => this.inSavepoint(() => transaction(...args)) } satisfies Partial<Record<keyof EntityManager, unknown>>);
    return runner;
  }

  /**
   * TypeORM gives a runner back as soon as its PostgreSQL connection breaks, and so does who closes the data source; it then speaks of a released runner. While the unit
   * is open it is the unit that answers, and it says what happened.
   */
  private keepUntilClosed(runner: QueryRunner): void {
    let released = runner.isReleased;
    Object.defineProperty(runner, 'isReleased', {
      get: () => released && !this.isOpen,
      set: (value: boolean) => {
        released = value;
      },
    });
  }

  private watchStream(stream: Readable): Readable {
    this.stream = stream;
    finished(stream, (error) => {
      if (error) this.connection.notice(error);
    });
    return stream;
  }
}
