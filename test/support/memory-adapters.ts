/**
 * Storage and jobs in memory, for specs of what needs no database: pipelines, buses, the module's wiring. They keep just enough of the ports'
 * promises for that (units, savepoints, commit steps, an append-only list); what rests on SQL is tested on SQL.
 */
import { TandemError } from '../../libs/tandem/src/kernel/errors.js';
import { StorageCheck, type TandemJobs, type TandemStorage } from '../../libs/tandem/src/kernel/adapter.js';
import { scopes, Unit, type UnitKind, type UnitOptions, UnitOfWork } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { type ConsumerRegistration, ConsumerStore } from '../../libs/tandem/src/events/consumer-store.js';
import { DeadLetterStore } from '../../libs/tandem/src/events/dead-letter-store.js';
import { PositionSnapshot } from '../../libs/tandem/src/consistency/position-snapshot.js';
import { EventLog, type PendingEvent, shardOf, type StoredEvent } from '../../libs/tandem/src/events/event-log.js';
import { WakeUpTransport } from '../../libs/tandem/src/events/wake-up-transport.js';
import { JobStore } from '../../libs/tandem/src/jobs/job-store.js';
import { JobTransport } from '../../libs/tandem/src/jobs/job-transport.js';
import { RebuildStore, ShadowTables } from '../../libs/tandem/src/read/projection/rebuild/rebuild-store.js';
import { RowStore } from '../../libs/tandem/src/read/projection/row-store.js';
import { InvalidationChannel } from '../../libs/tandem/src/read/query-cache/invalidation-channel.js';
import { CommandStore } from '../../libs/tandem/src/write/command/command-store.js';

/** An error after which a unit of work is repeated. */
export class TransientError extends Error {}

export class MemoryUnitOfWork extends UnitOfWork {
  /** `begin`, `commit`, `rollback`, in order; snapshots not counted. */
  readonly history: string[] = [];

  override isTransient(error: unknown): boolean {
    return error instanceof TransientError;
  }

  /** Where rows in memory become those of everybody. */
  onCommit: (unit: Unit) => void = () => undefined;

  override async run<T>(work: (unit: Unit) => Promise<T>, { kind = 'write', tries = 5 }: UnitOptions = {}): Promise<T> {
    const open = this.current;
    if (open) return this.within(open, work, kind);
    for (let attempt = 1; ; attempt++) {
      const unit = new MemoryUnit(kind, attempt);
      try {
        return await this.transaction(unit, work);
      } catch (error) {
        if (!this.isTransient(error) || attempt >= tries) throw error;
      }
    }
  }

  private within<T>(open: Unit, work: (unit: Unit) => Promise<T>, kind: UnitKind): Promise<T> {
    if (kind === 'snapshot') return work(open);
    if (kind === open.kind) return this.savepoint(open, work);
    if (kind === 'consumer') throw new TandemError('TANDEM_SECOND_CONNECTION', `A batch inside a ${open.kind}`);
    throw new TandemError(open.kind === 'snapshot' ? 'TANDEM_QUERY_WROTE' : 'TANDEM_EVENT_OUTSIDE_COMMAND', `A write inside a ${open.kind}`);
  }

  private async savepoint<T>(unit: Unit, work: (unit: Unit) => Promise<T>): Promise<T> {
    const place = { unit, parent: scopes.getStore(), isEnded: false };
    try {
      return await scopes.run(place, () => work(unit));
    } catch (error) {
      unit.forget(place);
      throw error;
    } finally {
      place.isEnded = true;
    }
  }

  private async transaction<T>(unit: Unit, work: (unit: Unit) => Promise<T>): Promise<T> {
    const note = (what: string) => unit.kind === 'snapshot' || this.history.push(what);
    note('begin');
    try {
      const result = await scopes.run({ unit }, async () => {
        const value = await work(unit);
        if (unit.kind === 'write') for (const step of [...this.commitSteps, this.lastStep]) await step?.(unit);
        return value;
      });
      unit.close();
      note('commit');
      this.onCommit(unit);
      for (const task of unit.takeAfterCommitTasks()) this.outside(() => void (async () => task())().catch(() => undefined));
      return result;
    } catch (error) {
      unit.close();
      unit.takeAfterCommitTasks();
      note('rollback');
      throw error;
    }
  }
}

class MemoryUnit extends Unit {}

export class MemoryEventLog extends EventLog {
  readonly events: StoredEvent[] = [];

  override append(_unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    const appended = events.map((event) => this.stored(event));
    return Promise.resolve(appended);
  }
  override heads() {
    const heads = new Map<number, number>();
    for (const { shard, seq } of this.events) heads.set(shard, seq);
    return Promise.resolve({ cutMicros: Number.MAX_SAFE_INTEGER, heads });
  }
  override readKeys = () => Promise.resolve([]);
  override closeHole = () => Promise.resolve(0);
  override count = () => Promise.resolve({ nowMicros: 0, waiting: [] });
  override readStreamKeys = () => Promise.resolve([]);
  override readEvents = () => Promise.resolve([]);
  override eventsAt = () => Promise.resolve([]);
  override readStream(tenant: string, stream: string) {
    return Promise.resolve(this.events.filter((event) => event.tenant === tenant && event.stream === stream));
  }

  private stored({ expected: _expected, ...event }: PendingEvent): StoredEvent {
    const shard = shardOf(event.tenant, event.stream);
    const seq = this.events.filter((other) => other.shard === shard).length + 1;
    const version = this.events.filter((other) => other.stream === event.stream && other.tenant === event.tenant).length + 1;
    const stored = { ...event, shard, seq, version, recordedAtMicros: seq, payloadBytes: event.payload.length };
    this.events.push(stored);
    return stored;
  }
}

export class MemoryConsumerStore extends ConsumerStore {
  readonly registrations: ConsumerRegistration[] = [];

  override register(registrations: readonly ConsumerRegistration[]): Promise<void> {
    this.registrations.push(...registrations);
    return Promise.resolve();
  }
  override registered = () => Promise.resolve([]);
  override claim = () => Promise.resolve(undefined);
  override advance = () => Promise.resolve();
  override status = () => Promise.resolve([]);
  override noteRun = () => Promise.resolve();
  override setState = () => Promise.resolve();
  override positions = () => Promise.resolve(new Map());
}

class NoDeadLetters extends DeadLetterStore {
  override hold = () => Promise.resolve();
  override release = () => Promise.resolve();
  override held = () => Promise.resolve([]);
  override list = () => Promise.resolve([]);
  override dueConsumers = () => Promise.resolve([]);
  override retryNow = () => Promise.resolve(0);
  override discard = () => Promise.resolve(0);
}

class NoJobs extends JobStore {
  override insert = () => Promise.resolve([]);
  override withDedupeKey = () => Promise.resolve(undefined);
  override claim = () => Promise.resolve(undefined);
  override claimTogether = () => Promise.resolve([]);
  override complete = () => Promise.resolve();
  override completeTogether = () => Promise.resolve();
  override giveBackTogether = () => Promise.resolve();
  override fail = () => Promise.resolve(undefined);
  override giveBack = () => Promise.resolve(undefined);
  override renew = () => Promise.resolve();
  override due = () => Promise.resolve([]);
  override counts = () => Promise.resolve([]);
  override list = () => Promise.resolve([]);
  override retryParked = () => Promise.resolve([]);
  override release = () => Promise.resolve([]);
  override discard = () => Promise.resolve({ change: 'missing' } as const);
  override reschedule = () => Promise.resolve({ change: 'missing' } as const);
  override sweep = () => Promise.resolve(0);
}

/** Remembers no id. */
class NoCommandIds extends CommandStore {
  override take = () => Promise.resolve(undefined);
  override sweep = () => Promise.resolve(0);
}

class NoRows extends RowStore {
  override shape = () => ({ keys: ['id'], columns: [] });
  override fresh = (_entity: unknown, key: object) => ({ ...key });
  override load = () => Promise.resolve(new Map());
  override write = () => Promise.resolve();
  override add = () => Promise.resolve();
  override manager = () => undefined;
  override table = ({ name }: { readonly name: string }) => name;
}

class NoRebuilds extends RebuildStore {
  override begin = () => Promise.reject(new Error('the memory adapter rebuilds nothing'));
  override list = () => Promise.resolve([]);
  override nextGeneration = () => Promise.resolve(2);
  override change = () => Promise.resolve(false);
  override positions = () => Promise.resolve(new Map());
  override forget = () => Promise.resolve();
  override reset = () => Promise.resolve();
}

class NoShadows extends ShadowTables {
  override names = () => [];
  override problems = () => Promise.resolve([]);
  override create = () => Promise.resolve(true);
  override script = () => Promise.resolve([]);
  override rows = () => new NoRows();
  override missingRows = () => Promise.resolve(0);
  override swap = () => Promise.resolve('aborted' as const);
  override drop = () => Promise.resolve();
}

class NoSnapshot extends PositionSnapshot {
  override read(): Promise<never> {
    return Promise.reject(new Error('the memory adapter has no snapshot of two sides'));
  }
}

/** Says what the module asked of it, in order. */
export class MemoryTransports {
  readonly asked: string[] = [];
  /** What a job that comes at once, or one that is still running at the end, would do. */
  whenWorking: () => Promise<unknown> = () => Promise.resolve();
  whenStopping: () => Promise<unknown> = () => Promise.resolve();
}

class MemoryStorageCheck extends StorageCheck {
  readonly logId = '000000000000';
  constructor(private readonly transports: MemoryTransports) {
    super();
  }
  override verify(): Promise<void> {
    this.transports.asked.push('verify');
    return Promise.resolve();
  }
}

class MemoryWakeUps extends WakeUpTransport {
  constructor(private readonly transports: MemoryTransports) {
    super();
  }
  override signal = () => Promise.resolve();
  override arrange = () => Promise.resolve();
  override listen(): Promise<void> {
    this.transports.asked.push('listen');
    return Promise.resolve();
  }
  override stop(): Promise<void> {
    this.transports.asked.push('stop listening');
    return Promise.resolve();
  }
}

class MemoryJobTransport extends JobTransport {
  constructor(private readonly transports: MemoryTransports) {
    super();
  }
  override add = () => Promise.resolve();
  override handOver = () => Promise.resolve();
  override queued = () => Promise.resolve(0);
  override async work(queue: string): Promise<void> {
    this.transports.asked.push(`work on ${queue}`);
    await this.transports.whenWorking();
  }
  override async stop(): Promise<void> {
    this.transports.asked.push('stop working');
    await this.transports.whenStopping();
  }
}

class MemoryInvalidation extends InvalidationChannel {
  readonly connected = true;
  override publish = () => Promise.resolve();
  override subscribe = () => Promise.resolve();
  override stop = () => Promise.resolve();
}

export interface MemoryAdapters {
  readonly storage: TandemStorage;
  readonly jobs: TandemJobs;
  readonly units: MemoryUnitOfWork;
  readonly log: MemoryEventLog;
  readonly consumers: MemoryConsumerStore;
  readonly transports: MemoryTransports;
}

/** A fresh set for one application. */
export function memoryAdapters(): MemoryAdapters {
  const units = new MemoryUnitOfWork();
  const log = new MemoryEventLog();
  const consumers = new MemoryConsumerStore();
  const transports = new MemoryTransports();
  const filled = (port: unknown, useValue: unknown) => ({ provide: port as never, useValue });
  return {
    ...{ units, log, consumers, transports },
    storage: {
      port: 'storage',
      describe: 'memory',
      providers: [
        ...[filled(UnitOfWork, units), filled(EventLog, log), filled(ConsumerStore, consumers), filled(DeadLetterStore, new NoDeadLetters())],
        ...[
          filled(JobStore, new NoJobs()),
          filled(CommandStore, new NoCommandIds()),
          filled(RowStore, new NoRows()),
          filled(RebuildStore, new NoRebuilds()),
          filled(ShadowTables, new NoShadows()),
          filled(PositionSnapshot, new NoSnapshot()),
          filled(StorageCheck, new MemoryStorageCheck(transports)),
        ],
      ],
    },
    jobs: {
      port: 'jobs',
      describe: 'memory',
      providers: [
        filled(WakeUpTransport, new MemoryWakeUps(transports)),
        filled(JobTransport, new MemoryJobTransport(transports)),
        filled(InvalidationChannel, new MemoryInvalidation()),
      ],
    },
  };
}
