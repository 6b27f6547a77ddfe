/** A log with its checkpoints, letters and rows in memory, for specs of batches. Locks and rollback are those of SQL: a checkpoint's lock is held until the unit ends. */
import type { Scheduler } from 'fast-check';
import { scopes, Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from './consumer.js';
import { type BatchPorts, ConsumerBatch } from './consumer-batch.js';
import type { ConsumerState, ConsumerStore } from './consumer-store.js';
import type { DeadLetter, DeadLetterStore, NewDeadLetter } from './dead-letter-store.js';
import { DomainEvent } from './domain-event.js';
import type { EventLog, StoredEvent } from './event-log.js';
import { StreamRetry } from './stream-retry.js';

@DomainEvent('memory.counted', { version: 1, stream: (e) => ['memory', e.id] })
export class Counted {
  constructor(readonly id: string) {}
}

export const SHARDS_HERE = 4;
export class Deadlock extends Error {}

class MemoryUnit extends Unit {
  readonly undo: (() => void)[] = [];
  readonly locks = new Set<string>();
}

type Fault = 'named' | 'unnamed';
const letterKey = ({ tenant, stream }: { tenant: string; stream: string }): string => `${tenant}\n${stream}`;

export class MemoryLog {
  readonly shards = Array.from({ length: SHARDS_HERE }, (): StoredEvent[] => []);
  readonly checkpoints = new Map(this.shards.map((_, shard) => [shard, 0]));
  readonly letters = new Map<string, DeadLetter>();
  /** Stream → versions in the order in which they were applied. */
  readonly rows = new Map<string, number[]>();
  /** Event ids in the order in which they were applied, over all streams. */
  readonly applied: string[] = [];
  /** Event id → how its handler fails, and how often it still will. */
  readonly faults = new Map<string, { kind: Fault; times: number }>();
  /** Numbers of those calls of the database that end in a deadlock. */
  readonly deadlocks = new Set<number>();
  state: ConsumerState = 'running';
  scheduler: Scheduler | undefined;
  transactions = 0;
  private calls = 0;
  private readonly locked = new Map<string, Unit>();
  private clock = 0;

  readonly ports: BatchPorts = {
    units: this.unitOfWork(),
    log: this.eventLog(),
    store: this.consumerStore(),
    letters: this.letterStore(),
    settings: { batchSize: 16, batchBytes: 1e6, consumerAttempts: 3, consumerBackoffMs: 0, reconcileEveryMs: 1, wakeUpWindowMs: 0, drainTimeoutMs: 0 },
  };
  readonly batch = new ConsumerBatch(this.ports);
  readonly retry = new StreamRetry(this.ports);

  append(stream: number, type = 'memory.counted'): StoredEvent {
    const shard = stream % SHARDS_HERE;
    const name = `memory-${stream}`;
    const version = this.shards.flat().filter((event) => event.stream === name).length + 1;
    const recordedAtMicros = ++this.clock;
    const event: StoredEvent = {
      ...{ shard, seq: this.shards[shard]!.length + 1, eventId: `${name}/${version}`, tenant: '', stream: name, version, type, schemaVersion: 1 },
      ...{ recordedAtMicros, payloadBytes: 10, payload: JSON.stringify({ id: String(stream) }), metadata: '{"correlationId":"c"}' },
    };
    this.shards[shard]!.push(event);
    return event;
  }

  consumer(onError: Consumer['onError'], parallelism: number): Consumer {
    return {
      ...{
        name: 'memory',
        kind: 'projection',
        consumerClass: MemoryLog,
        events: [Counted],
        version: 1,
        startFrom: 'beginning',
        parallelism,
        onError,
        runBy: 'worker',
        entities: [],
      },
      handle: (unit, events) => this.handle(unit as MemoryUnit, events),
    };
  }

  /** A worker's batch of at most `limit` shards. */
  runBatch(consumer: Consumer, limit = SHARDS_HERE) {
    return this.batch.run({
      consumer,
      claim: (unit) => this.ports.store.claim(unit, { consumer: consumer.name, exclusive: consumer.parallelism === 1, limit, wait: false }),
      heads: async (unit) => this.ports.log.heads(unit),
      attempt: (work) => this.ports.units.run(work, { kind: 'consumer' }),
    });
  }

  get lag(): number {
    return [...this.checkpoints].reduce((sum, [shard, seq]) => sum + this.shards[shard]!.length - seq, 0);
  }

  private async handle(unit: MemoryUnit, events: readonly ConsumedEvent[]): Promise<void> {
    await this.call();
    for (const { stored } of events) {
      const fault = this.faults.get(stored.eventId);
      if (fault && fault.times > 0) {
        fault.times--;
        throw fault.kind === 'named' ? new EventFailure(stored, new Error('poison')) : new Error('a multi-row write failed');
      }
      const row = this.rows.get(stored.stream) ?? [];
      this.rows.set(stored.stream, row);
      row.push(stored.version);
      this.applied.push(stored.eventId);
      unit.undo.push(() => {
        row.pop();
        this.applied.splice(this.applied.lastIndexOf(stored.eventId), 1);
      });
    }
    await this.call();
  }

  private async call(): Promise<void> {
    await this.scheduler?.schedule(Promise.resolve());
    if (this.deadlocks.has(this.calls++)) throw new Deadlock();
  }

  private set<K, V>(unit: Unit, map: Map<K, V>, key: K, value: V | undefined): void {
    const before = map.get(key);
    (unit as MemoryUnit).undo.push(() => (before === undefined ? map.delete(key) : map.set(key, before)));
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }

  private lock(unit: Unit, name: string): boolean {
    const holder = this.locked.get(name) ?? unit;
    if (holder !== unit) return false;
    this.locked.set(name, unit);
    (unit as MemoryUnit).locks.add(name);
    return true;
  }

  private unitOfWork(): UnitOfWork {
    const end = (unit: MemoryUnit) => unit.locks.forEach((name) => this.locked.delete(name));
    const begun = () => this.transactions++;
    return new (class extends UnitOfWork {
      async run<T>(work: (unit: Unit) => Promise<T>): Promise<T> {
        const unit = new MemoryUnit('consumer', 1);
        begun();
        try {
          return await scopes.run({ unit }, () => work(unit));
        } catch (error) {
          for (const undo of unit.undo.toReversed()) undo();
          throw error;
        } finally {
          end(unit);
        }
      }
      isTransient(error: unknown): boolean {
        return error instanceof Deadlock;
      }
    })();
  }

  private eventLog(): EventLog {
    return {
      heads: async () => {
        await this.call();
        return { cutMicros: Number.MAX_SAFE_INTEGER, heads: new Map(this.shards.map(({ length }, shard) => [shard, length])) };
      },
      readKeys: async (_unit, ranges) => {
        await this.call();
        return ranges.flatMap(({ shard, after, upTo }) => this.shards[shard]!.slice(after, upTo));
      },
      closeHole: async () => 0,
      readStreamKeys: async (_unit, { from, stream, upTo }) => {
        await this.call();
        return this.shards[from.shard]!.slice(from.seq - 1, upTo).filter((event) => event.stream === stream);
      },
      readEvents: async (_unit, keys) => {
        await this.call();
        return keys.map(({ shard, seq }) => this.shards[shard]![seq - 1]!);
      },
    } satisfies Partial<EventLog> as unknown as EventLog;
  }

  private consumerStore(): ConsumerStore {
    return {
      claim: async (unit, { exclusive, limit = SHARDS_HERE, shards }) => {
        await this.call();
        if (exclusive && !this.lock(unit, 'consumer')) return undefined;
        const lagging = [...this.checkpoints].filter(([shard, seq]) => shards?.includes(shard) ?? this.shards[shard]!.length > seq).map(([shard]) => shard);
        const from = this.calls % Math.max(1, lagging.length);
        const free: number[] = [];
        for (const shard of [...lagging.slice(from), ...lagging.slice(0, from)]) if (free.length < limit && this.lock(unit, `shard ${shard}`)) free.push(shard);
        if (free.length === 0 && lagging.length > 0) return undefined;
        return {
          consumer: 'memory',
          generation: 1,
          state: this.state,
          types: ['memory.counted'],
          checkpoints: free.map((shard) => ({ shard, seq: this.checkpoints.get(shard)!, eventId: null })),
        };
      },
      advance: async (unit, _claim, checkpoints) => {
        await this.call();
        for (const { shard, seq } of checkpoints) this.set(unit, this.checkpoints, shard, seq);
      },
      setState: async (_consumer, state, _reason, unit) => {
        const before = this.state;
        this.state = state;
        (unit as MemoryUnit | undefined)?.undo.push(() => (this.state = before));
      },
    } satisfies Partial<ConsumerStore> as unknown as ConsumerStore;
  }

  private letterStore(): DeadLetterStore {
    return {
      hold: async (unit, { retryInMs: _retryInMs, ...letter }: NewDeadLetter) => {
        await this.call();
        this.set(unit, this.letters, letterKey(letter), { ...letter, due: letter.state !== 'parked' });
      },
      release: async (unit, letter) => {
        await this.call();
        this.set(unit, this.letters, letterKey(letter), undefined);
      },
      held: async (_unit, _consumer, _generation, shards) => {
        await this.call();
        return [...this.letters.values()].filter(({ shard }) => shards.includes(shard));
      },
    } satisfies Partial<DeadLetterStore> as unknown as DeadLetterStore;
  }
}
