/**
 * Processes with a consumer engine each, on one real database, joined by a transport in memory that gives every message to one of those that listen. Time is the
 * database's, and passes when the test says so: what stands there is set back. What does not happen is seen by looks: each process looks every few milliseconds.
 */
import { randomUUID } from 'node:crypto';
import { expect, vi } from 'vitest';
import { SqlConsumerStore } from '../../libs/tandem/src/adapters/typeorm/sql-consumer-store.js';
import { SqlDeadLetterStore } from '../../libs/tandem/src/adapters/typeorm/sql-dead-letter-store.js';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { sqlOutside } from '../../libs/tandem/src/adapters/typeorm/sql.js';
import type { ConsumedEvent, Consumer } from '../../libs/tandem/src/events/consumer.js';
import { ConsumerRegistry } from '../../libs/tandem/src/events/consumer-registry.js';
import { ConsumerRuntime } from '../../libs/tandem/src/events/consumer-runtime.js';
import { Consumers } from '../../libs/tandem/src/events/consumers.js';
import { DomainEvent } from '../../libs/tandem/src/events/domain-event.js';
import { EventCapture } from '../../libs/tandem/src/events/event-capture.js';
import { ForcedRuns } from '../../libs/tandem/src/events/forced-runs.js';
import type { RunCondition } from '../../libs/tandem/src/events/run-condition.js';
import { type ScheduledWakeUps, type WakeUp, WakeUpTransport } from '../../libs/tandem/src/events/wake-up-transport.js';
import { WakeUps } from '../../libs/tandem/src/events/wake-ups.js';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import { emptyTandem, type TandemDatabase } from './tandem-database.js';

@DomainEvent('fleet.counted', { version: 1, stream: (e) => ['fleet', e.id] })
export class Counted {
  constructor(readonly id: string) {}
}

export const NAME = 'fleet.view';
const LOOKS = 3;
const PATIENCE = { timeout: 60_000, interval: 5 };
const SETTINGS = {
  ...{ batchSize: 100, batchBytes: 1e6, reconcileEveryMs: 10, wakeUpWindowMs: 5 },
  ...{ consumerAttempts: 2, consumerBackoffMs: 1, drainTimeoutMs: 5_000 },
};

type Listener = (wakeUp: WakeUp) => Promise<void>;

/** May be told to be away, or to lose everything, as Redis does. */
export class MemoryBus {
  readonly listeners: Listener[] = [];
  readonly sent: WakeUp[] = [];
  arranged: ScheduledWakeUps | undefined;
  away = false;
  losing = false;
  delivering = 0;
  private turn = 0;

  send(wakeUps: readonly WakeUp[]): Promise<void> {
    if (this.away) return Promise.reject(new Error('the bus is away'));
    this.sent.push(...wakeUps);
    if (!this.losing) for (const wakeUp of wakeUps) void this.deliver(wakeUp);
    return Promise.resolve();
  }

  private async deliver(wakeUp: WakeUp): Promise<void> {
    this.delivering++;
    await this.listeners[this.turn++ % this.listeners.length]?.(wakeUp);
    this.delivering--;
  }
}

class BusEnd extends WakeUpTransport {
  constructor(private readonly bus: MemoryBus) {
    super();
  }
  private listener: Listener | undefined;
  override signal(consumers: readonly string[], forced = false): Promise<void> {
    return this.bus.send(consumers.map((consumer) => ({ consumer, forced })));
  }
  override arrange(wakeUps: ScheduledWakeUps): Promise<void> {
    this.bus.arranged = wakeUps;
    return Promise.resolve();
  }
  override listen(handler: Listener): Promise<void> {
    this.listener = handler;
    this.bus.listeners.push(handler);
    return Promise.resolve();
  }
  override stop(): Promise<void> {
    const { listeners } = this.bus;
    if (this.listener) listeners.splice(listeners.indexOf(this.listener), 1);
    return Promise.resolve();
  }
}

class SkewedClock extends Clock {
  constructor(private readonly skewMs: number) {
    super();
  }
  override now(): number {
    return super.now() + this.skewMs;
  }
}

/** Counts what its process asks the database for. */
class CountingStore extends SqlConsumerStore {
  looks = 0;
  claims = 0;
  override status(): ReturnType<SqlConsumerStore['status']> {
    this.looks++;
    return super.status();
  }
  override claim(...args: Parameters<SqlConsumerStore['claim']>): ReturnType<SqlConsumerStore['claim']> {
    this.claims++;
    return super.claim(...args);
  }
}

class CountingLog extends SqlEventLog {
  counts = 0;
  override count(...args: Parameters<SqlEventLog['count']>): ReturnType<SqlEventLog['count']> {
    this.counts++;
    return super.count(...args);
  }
}

export interface ProcessOptions {
  readonly waitsFor?: RunCondition;
  readonly role?: 'worker' | 'api';
  readonly skewMs?: number;
  readonly onError?: Consumer['onError'];
  readonly handle?: (event: ConsumedEvent) => void;
  /** Default so short that it looks all the time. */
  readonly reconcileEveryMs?: number;
}

export class FleetProcess {
  readonly registry = new ConsumerRegistry();
  readonly store: CountingStore;
  readonly log: CountingLog;
  readonly runtime: ConsumerRuntime;
  readonly forced: ForcedRuns;
  readonly consumers: Consumers;
  private readonly wakeUps: WakeUps;

  constructor(
    private readonly fleet: ConsumerFleet,
    private readonly options: ProcessOptions,
  ) {
    const { dataSource, tables, units } = fleet.db;
    const settings = { ...SETTINGS, reconcileEveryMs: options.reconcileEveryMs ?? SETTINGS.reconcileEveryMs };
    this.store = new CountingStore(dataSource, tables);
    this.log = new CountingLog(dataSource, tables);
    const transport = new BusEnd(fleet.bus);
    const clock = new SkewedClock(options.skewMs ?? 0);
    this.wakeUps = new WakeUps(this.registry, transport, clock, settings);
    const letters = new SqlDeadLetterStore(dataSource, tables);
    const capture = new EventCapture(units, this.log);
    this.runtime = new ConsumerRuntime(units, this.log, this.store, letters, this.registry, settings, capture, this.wakeUps, transport, clock);
    this.forced = new ForcedRuns(this.runtime, transport);
    this.consumers = new Consumers(this.store, this.registry, this.wakeUps);
  }

  async start(): Promise<this> {
    const { handle, onError = 'park', role = 'worker', waitsFor } = this.options;
    const consumer: Consumer = {
      ...{ name: NAME, kind: 'projection', consumerClass: Counted, events: [Counted], version: 1, startFrom: 'beginning' },
      ...{ parallelism: 1, onError, runBy: 'worker', entities: [], waitsFor },
      handle: (_unit, events) => {
        for (const event of events) handle?.(event);
        this.fleet.runs.push({ by: this, events: events.length });
        return Promise.resolve();
      },
    };
    await this.runtime.register([consumer]);
    if (role === 'worker') await this.runtime.start();
    return this;
  }

  get looksOften(): boolean {
    return this.runtime.isWorking && this.options.reconcileEveryMs === undefined;
  }

  /** Nothing runs here, or is about to. */
  get atRest(): boolean {
    return this.runtime['running'].size === 0;
  }

  /** An event each, told to the others by this process. */
  async append(count = 1, type = 'fleet.counted'): Promise<void> {
    const { log } = this;
    for (let i = 0; i < count; i++) {
      const stream = `fleet-${randomUUID()}`;
      const event = { eventId: randomUUID(), tenant: '', stream, type, schemaVersion: 1, payload: JSON.stringify({ id: stream }), metadata: '{"correlationId":"c"}' };
      this.wakeUps.committed(await this.fleet.db.units.run((unit) => log.append(unit, [{ ...event, expected: 'any' }])));
    }
  }

  async stop(): Promise<void> {
    await this.runtime.stop(5_000);
  }
}

export class ConsumerFleet {
  readonly bus = new MemoryBus();
  /** Batches that had something to handle, of all processes. */
  readonly runs: { readonly by: FleetProcess; readonly events: number }[] = [];
  private readonly processes: FleetProcess[] = [];

  private constructor(readonly db: TandemDatabase) {}

  static async begin(db: TandemDatabase): Promise<ConsumerFleet> {
    await emptyTandem(db);
    return new ConsumerFleet(db);
  }

  async process(options: ProcessOptions = {}): Promise<FleetProcess> {
    const process = new FleetProcess(this, options);
    this.processes.push(process);
    return process.start();
  }

  async end(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.stop()));
  }

  /** How many events each batch had; of those that had some. */
  get sizes(): readonly number[] {
    return this.runs.map(({ events }) => events);
  }

  get handled(): number {
    return this.sizes.reduce((sum, events) => sum + events, 0);
  }

  async untilHandled(events: number): Promise<void> {
    await vi.waitFor(() => expect(this.handled).toBe(events), PATIENCE);
  }

  /** Resolves when every worker has looked several times more, and has done what it has found. */
  async looked(): Promise<void> {
    const workers = this.processes.filter(({ looksOften }) => looksOften);
    const before = workers.map(({ store }) => store.looks);
    await vi.waitFor(() => expect(this.bus.delivering === 0 && workers.every(({ atRest, store }, index) => atRest && store.looks >= before[index]! + LOOKS)).toBe(true), PATIENCE);
  }

  async lastRun(): Promise<Date | null> {
    return (await this.processes[0]!.store.status()).find(({ consumer }) => consumer === NAME)!.lastRunAt;
  }

  /** By the database's clock. */
  async later(ms: number): Promise<void> {
    const { dataSource, tables } = this.db;
    await sqlOutside(dataSource, async (sql) => {
      const before = (column: string) => (sql.dialect === 'mysql' ? `${column} - INTERVAL (? * 1000) MICROSECOND` : `${column} - ? * interval '1 millisecond'`);
      await sql.query(`UPDATE ${tables.event} SET recorded_at = ${before('recorded_at')}`, [ms]);
      await sql.query(`UPDATE ${tables.consumer} SET last_run_at = ${before('last_run_at')}`, [ms]);
    });
  }

  /** As if the last run had been in that slot. */
  async setLastRun(at: Date): Promise<void> {
    const { tables, units } = this.db;
    await sqlOutside(this.db.dataSource, (sql) => sql.query(`UPDATE ${tables.consumer} SET last_run_at = NULL`));
    await units.run((unit) => this.processes[0]!.store.noteRun(unit, NAME, at.getTime() * 1_000), { kind: 'consumer' });
  }
}
