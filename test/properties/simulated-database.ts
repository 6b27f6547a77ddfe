/**
 * A database in memory that behaves as Tandem's databases do under READ COMMITTED: a transaction sees its own writes and what
 * others have committed, a row's lock is held until the transaction ends, a claim skips what is locked, a circle of waits ends
 * one of them, and a connection that is lost takes its transaction along. Nothing happens between two statements but what
 * fast-check's scheduler chooses, so any interleaving of processes, and a kill at any statement, can be tried and repeated.
 */
import type { Scheduler } from 'fast-check';
import type { StoredEvent } from '../../libs/tandem/src/events/event-log.js';

/** What befalls a process at one of its statements. After `answer lost` the statement was done, and nobody knows. */
export type Fate = 'killed' | 'cut off' | 'answer lost' | 'deadlock';

export class ConnectionLost extends Error {}
export class Deadlock extends Error {}

/** A database's clock moves on with every statement. */
const MICROS_PER_STATEMENT = 1_000;

export class SimulatedDatabase {
  readonly committed = new Map<string, unknown>();
  /** Of every consumer, in the order of their commits. */
  readonly effects: { readonly consumer: string; readonly event: StoredEvent }[] = [];
  readonly locks = new Map<string, SimulatedSession>();
  micros = 0;
  moments = 0;

  constructor(readonly scheduler: Scheduler) {}

  async moment(label: string): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), label);
    this.micros += MICROS_PER_STATEMENT;
    this.moments++;
  }

  read<T>(key: string): T | undefined {
    return this.committed.get(key) as T | undefined;
  }

  keys(prefix: string): string[] {
    return [...this.committed.keys()].filter((key) => key.startsWith(prefix));
  }
}

/** An operating system's process: it dies in the middle of anything, and none of its code runs afterwards. */
export class SimulatedProcess {
  private alive = true;
  private statements = 0;
  private readonly sessions = new Set<SimulatedSession>();
  private died!: () => void;
  /** Resolves when it was killed, and the database has noticed. */
  readonly death = new Promise<void>((resolve) => (this.died = resolve));

  constructor(
    readonly name: string,
    readonly database: SimulatedDatabase,
    private readonly fates: ReadonlyMap<number, Fate>,
  ) {}

  begin(): SimulatedSession {
    const session = new SimulatedSession(this);
    this.sessions.add(session);
    return session;
  }

  ended(session: SimulatedSession): void {
    this.sessions.delete(session);
  }

  get isAlive(): boolean {
    return this.alive;
  }

  kill(): void {
    this.alive = false;
    void this.database.moment(`the database notices that ${this.name} is gone`).then(() => {
      for (const session of this.sessions) session.rollBack();
      this.died();
    });
  }

  /** The next moment of this process; never comes for a dead one. */
  async moment(label: string): Promise<Fate | undefined> {
    await this.database.moment(`${this.name}: ${label}`);
    if (!this.alive) return nothing();
    const fate = this.fates.get(this.statements++);
    if (fate === 'killed') {
      this.kill();
      return nothing();
    }
    // As of one that was stopped for longer than its sessions may idle.
    if (fate === 'cut off') for (const session of this.sessions) session.rollBack();
    return fate;
  }
}

const nothing = (): Promise<never> => new Promise(() => undefined);

export class SimulatedSession {
  private writes = new Map<string, unknown>();
  private readonly locks = new Set<string>();
  private effects: { readonly consumer: string; readonly event: StoredEvent }[] = [];
  private isOpen = true;
  private waitsFor: string | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly process: SimulatedProcess) {}

  private get database(): SimulatedDatabase {
    return this.process.database;
  }

  /** Does `work` in one moment. @throws ConnectionLost, Deadlock */
  async statement<T>(label: string, work: () => T): Promise<T> {
    const fate = await this.process.moment(label);
    if (!this.isOpen) throw new ConnectionLost(label);
    if (fate === 'deadlock') throw this.deadlock(label);
    const result = work();
    if (fate === 'answer lost') {
      this.rollBack();
      throw new ConnectionLost(label);
    }
    return result;
  }

  get<T>(key: string): T | undefined {
    return this.writes.has(key) ? (this.writes.get(key) as T | undefined) : this.database.read<T>(key);
  }

  set(key: string, value: unknown): void {
    this.writes.set(key, value);
  }

  effect(consumer: string, event: StoredEvent): void {
    this.effects.push({ consumer, event });
  }

  tryLock(key: string): boolean {
    const holder = this.database.locks.get(key) ?? this;
    if (holder !== this) return false;
    this.database.locks.set(key, this);
    this.locks.add(key);
    return true;
  }

  /** Waits for whoever holds it. */
  async lock(key: string): Promise<void> {
    while (!(await this.statement(`lock ${key}`, () => this.tryLock(key)))) {
      this.waitsFor = key;
      if (this.waitsInCircle()) throw this.deadlock(key);
      const holder = this.database.locks.get(key);
      if (holder) await new Promise<void>((resolve) => holder.whenEnded(this, resolve));
      this.waitsFor = undefined;
    }
  }

  /** What a savepoint gives back when it is rolled back to. */
  savepoint(): () => void {
    const writes = new Map(this.writes);
    const effects = [...this.effects];
    return () => {
      this.writes = writes;
      this.effects = effects;
    };
  }

  commit(): Promise<void> {
    return this.statement('COMMIT', () => {
      for (const [key, value] of this.writes) {
        if (value === undefined) this.database.committed.delete(key);
        else this.database.committed.set(key, value);
      }
      this.database.effects.push(...this.effects);
      this.end();
    });
  }

  rollBack(): void {
    if (this.isOpen) this.end();
  }

  private readonly waiters: (() => void)[] = [];
  private whenEnded(waiter: SimulatedSession, resolve: () => void): void {
    waiter.wake = resolve;
    this.waiters.push(resolve);
  }

  private end(): void {
    this.isOpen = false;
    for (const key of this.locks) this.database.locks.delete(key);
    for (const wake of [...this.waiters, this.wake]) wake?.();
    this.process.ended(this);
  }

  private waitsInCircle(): boolean {
    const seen = new Set<SimulatedSession>();
    for (let at = this.holderOf(this.waitsFor); at && !seen.has(at); at = this.holderOf(at.waitsFor)) {
      if (at === this) return true;
      seen.add(at);
    }
    return false;
  }

  private holderOf(key: string | undefined): SimulatedSession | undefined {
    return key === undefined ? undefined : this.database.locks.get(key);
  }

  private deadlock(label: string): Deadlock {
    this.rollBack();
    return new Deadlock(label);
  }
}
