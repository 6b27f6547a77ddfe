/** Tandem's storage ports on the simulated database, statement by statement as their SQL versions do it. */
import {
  ConsumerStore,
  type Checkpoint,
  type Claim,
  type ClaimRequest,
  type ConsumerRegistration,
  type ConsumerState,
  type ConsumerStatus,
} from '../../libs/tandem/src/events/consumer-store.js';
import { EventLog, type EventKey, type Heads, type PendingEvent, type ShardRange, type StoredEvent, type StreamRange } from '../../libs/tandem/src/events/event-log.js';
import { scopes, Unit, type UnitOptions, UnitOfWork } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { ConnectionLost, Deadlock, type SimulatedProcess, type SimulatedSession } from './simulated-database.js';

/** Few, so that streams share them. */
export const SHARDS_HERE = 4;
const shards = Array.from({ length: SHARDS_HERE }, (_, shard) => shard);
/** A worker that may run beside others takes no more, so that there is something left for them. */
const SHARDS_PER_CLAIM = 2;

export const shardHere = (stream: string): number => Number(stream.split('-')[1]) % SHARDS_HERE;

class SimulatedUnit extends Unit {
  constructor(
    kind: Unit['kind'],
    attempt: number,
    readonly session: SimulatedSession,
  ) {
    super(kind, attempt);
  }
}

export const sessionOf = (unit: Unit): SimulatedSession => (unit as SimulatedUnit).session;

export class SimulatedUnitOfWork extends UnitOfWork {
  constructor(private readonly process: SimulatedProcess) {
    super();
  }

  override isTransient(error: unknown): boolean {
    return error instanceof Deadlock || error instanceof ConnectionLost;
  }

  override async run<T>(work: (unit: Unit) => Promise<T>, { kind = 'write', tries = 5 }: UnitOptions = {}): Promise<T> {
    const open = this.current;
    if (open) return this.savepoint(open, work);
    for (let attempt = 1; ; attempt++) {
      const unit = new SimulatedUnit(kind, attempt, this.process.begin());
      try {
        return await this.transaction(unit, work);
      } catch (error) {
        if (!(error instanceof Deadlock) || attempt >= tries) throw error;
      }
    }
  }

  private async savepoint<T>(unit: Unit, work: (unit: Unit) => Promise<T>): Promise<T> {
    const rollBack = sessionOf(unit).savepoint();
    try {
      return await scopes.run({ unit, parent: scopes.getStore() }, () => work(unit));
    } catch (error) {
      rollBack();
      throw error;
    }
  }

  private async transaction<T>(unit: SimulatedUnit, work: (unit: Unit) => Promise<T>): Promise<T> {
    try {
      const result = await scopes.run({ unit }, async () => {
        const value = await work(unit);
        if (unit.kind === 'write') for (const step of [...this.commitSteps, this.lastStep]) await step?.(unit);
        return value;
      });
      unit.close();
      await unit.session.commit();
      this.outside(() => unit.takeAfterCommitTasks().forEach((task) => task()));
      return result;
    } catch (error) {
      unit.close();
      unit.session.rollBack();
      throw error;
    }
  }
}

const logOf = (session: SimulatedSession, shard: number): readonly StoredEvent[] => session.get<StoredEvent[]>(`log ${shard}`) ?? [];

export class SimulatedEventLog extends EventLog {
  constructor(private readonly process: SimulatedProcess) {
    super();
  }

  override async append(unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    const session = sessionOf(unit);
    for (const shard of shards) if (events.some(({ stream }) => shardHere(stream) === shard)) await session.lock(`log ${shard}`);
    return session.statement('INSERT events', () => events.map((event) => this.stored(session, event)));
  }

  override heads(unit: Unit, of: readonly number[] = shards): Promise<Heads> {
    return headsOf(sessionOf(unit), this.process, of);
  }

  override readKeys(unit: Unit, ranges: readonly ShardRange[]): Promise<readonly EventKey[]> {
    const session = sessionOf(unit);
    return session.statement('read keys', () => ranges.flatMap(({ shard, after, upTo }) => logOf(session, shard).slice(after, upTo)));
  }

  override readStreamKeys(unit: Unit, { from, stream, upTo }: StreamRange): Promise<readonly EventKey[]> {
    const session = sessionOf(unit);
    return session.statement('read keys of a stream', () =>
      logOf(session, from.shard)
        .slice(from.seq - 1, upTo)
        .filter((event) => event.stream === stream),
    );
  }

  override readEvents(unit: Unit, keys: readonly EventKey[]): Promise<readonly StoredEvent[]> {
    const session = sessionOf(unit);
    return session.statement('read events', () => keys.map(({ shard, seq }) => logOf(session, shard)[seq - 1]!));
  }

  override count = () => Promise.reject(new Error('nobody waits for more events here'));
  override closeHole = () => Promise.resolve(0);
  override eventsAt = () => Promise.reject(new Error('nobody imports history here'));
  override readStream = () => Promise.reject(new Error('nobody loads a stream here'));

  private stored(session: SimulatedSession, { expected: _expected, ...event }: PendingEvent): StoredEvent {
    const shard = shardHere(event.stream);
    const before = logOf(session, shard);
    const version = before.filter(({ stream }) => stream === event.stream).length + 1;
    const stored: StoredEvent = { ...event, shard, seq: before.length + 1, version, recordedAtMicros: this.process.database.micros, payloadBytes: event.payload.length };
    session.set(`log ${shard}`, [...before, stored]);
    return stored;
  }
}

/** Shard by shard, each in a moment of its own: MariaDB's view of one statement is no more of one moment than this. */
async function headsOf(session: SimulatedSession, { database }: SimulatedProcess, of: readonly number[]): Promise<Heads> {
  const cutMicros = await session.statement('the clock', () => database.micros);
  const heads = new Map<number, number>();
  for (const shard of of) {
    const head = await session.statement(`head ${shard}`, () => logOf(session, shard).length);
    if (head > 0) heads.set(shard, head);
  }
  return { cutMicros, heads };
}

interface ConsumerRow {
  readonly state: ConsumerState;
  readonly types: readonly string[];
}

export class SimulatedConsumerStore extends ConsumerStore {
  private rotation = 0;

  constructor(private readonly process: SimulatedProcess) {
    super();
  }

  override register(registrations: readonly ConsumerRegistration[]): Promise<void> {
    const { database } = this.process;
    for (const { name, types } of registrations) {
      if (database.read(`consumer ${name}`)) continue;
      database.committed.set(`consumer ${name}`, { state: 'running', types } satisfies ConsumerRow);
      for (const shard of shards) database.committed.set(`checkpoint ${name} ${shard}`, { shard, seq: 0, eventId: null } satisfies Checkpoint);
    }
    return Promise.resolve();
  }

  override registered = () => Promise.resolve([]);

  override async claim(unit: Unit, { consumer, exclusive, limit = SHARDS_HERE, shards: asked, wait }: ClaimRequest): Promise<Claim | undefined> {
    const session = sessionOf(unit);
    if (exclusive && !(await this.lockRow(session, `consumer ${consumer}`, wait))) return undefined;
    const lagging = asked || wait ? undefined : await this.lagging(session, consumer);
    if (lagging?.heads.size === 0) return this.claimed(session, consumer, [], lagging);
    const candidates = asked?.toSorted() ?? (lagging ? this.rotated([...lagging.heads.keys()]) : shards);
    const atMost = exclusive || wait ? limit : Math.min(limit, SHARDS_PER_CLAIM);
    const locked: number[] = [];
    for (const shard of candidates) if (locked.length < atMost && (await this.lockRow(session, `checkpoint ${consumer} ${shard}`, wait || exclusive))) locked.push(shard);
    if (locked.length === 0) return undefined;
    return this.claimed(session, consumer, locked.toSorted(), lagging);
  }

  override async advance(unit: Unit, { consumer }: Claim, checkpoints: readonly Checkpoint[]): Promise<void> {
    const session = sessionOf(unit);
    for (const { shard } of checkpoints) await session.lock(`checkpoint ${consumer} ${shard}`);
    await session.statement('UPDATE checkpoints', () => checkpoints.forEach((each) => session.set(`checkpoint ${consumer} ${each.shard}`, each)));
  }

  override async status(): Promise<readonly ConsumerStatus[]> {
    const { database } = this.process;
    await this.process.moment('status');
    return database.keys('consumer ').map((key) => {
      const consumer = key.slice('consumer '.length);
      const behind = shards.map((shard) => (database.read<StoredEvent[]>(`log ${shard}`)?.length ?? 0) - database.read<Checkpoint>(`checkpoint ${consumer} ${shard}`)!.seq);
      const { state } = database.read<ConsumerRow>(key)!;
      return {
        consumer,
        kind: 'projection',
        state,
        reason: null,
        generation: 1,
        lag: behind.reduce((sum, n) => sum + n, 0),
        laggingShards: shards.filter((shard) => behind[shard]! > 0),
        lastRunAt: null,
        readAt: new Date(database.micros / 1_000),
      };
    });
  }

  override async setState(consumer: string, state: ConsumerState, _reason: string | null, unit?: Unit): Promise<void> {
    const session = unit ? sessionOf(unit) : this.process.begin();
    const key = `consumer ${consumer}`;
    await session.lock(key);
    await session.statement('UPDATE state', () => session.set(key, { ...session.get<ConsumerRow>(key)!, state }));
    if (!unit) await session.commit();
  }

  override noteRun = () => Promise.reject(new Error('nothing is scheduled here'));
  override positions = () => Promise.resolve(new Map());

  private async lockRow(session: SimulatedSession, key: string, wait: boolean): Promise<boolean> {
    if (!wait) return session.statement(`lock ${key} or skip`, () => session.tryLock(key));
    await session.lock(key);
    return true;
  }

  private async lagging(session: SimulatedSession, consumer: string): Promise<Heads> {
    const { cutMicros, heads } = await headsOf(session, this.process, shards);
    const behind = [...heads].filter(([shard, head]) => head > session.get<Checkpoint>(`checkpoint ${consumer} ${shard}`)!.seq);
    return { cutMicros, heads: new Map(behind) };
  }

  private claimed(session: SimulatedSession, consumer: string, locked: readonly number[], heads: Heads | undefined): Promise<Claim> {
    return session.statement('read checkpoints', () => ({
      consumer,
      generation: 1,
      ...session.get<ConsumerRow>(`consumer ${consumer}`)!,
      checkpoints: locked.map((shard) => session.get<Checkpoint>(`checkpoint ${consumer} ${shard}`)!),
      heads,
    }));
  }

  /** Not at random: a run must be the same when it is repeated. */
  private rotated(candidates: readonly number[]): number[] {
    const from = this.rotation++ % candidates.length;
    return [...candidates.slice(from), ...candidates.slice(0, from)];
  }
}
