/**
 * Writers, workers and an operator on one simulated database, each a process of its own with the real consumer engine in it.
 * What they do and what befalls them is a *history*; when everything is worked off, the world says what it finds broken.
 */
import type { Scheduler } from 'fast-check';
import { type Consumer, EventFailure } from '../../libs/tandem/src/events/consumer.js';
import { ConsumerRegistry } from '../../libs/tandem/src/events/consumer-registry.js';
import { ConsumerRuntime } from '../../libs/tandem/src/events/consumer-runtime.js';
import type { ConsumerState, ConsumerStore } from '../../libs/tandem/src/events/consumer-store.js';
import type { DeadLetter, DeadLetterStore } from '../../libs/tandem/src/events/dead-letter-store.js';
import { DomainEvent } from '../../libs/tandem/src/events/domain-event.js';
import { EventCapture } from '../../libs/tandem/src/events/event-capture.js';
import type { EventLog, StoredEvent } from '../../libs/tandem/src/events/event-log.js';
import type { WakeUps } from '../../libs/tandem/src/events/wake-ups.js';
import { type WakeUp, WakeUpTransport } from '../../libs/tandem/src/events/wake-up-transport.js';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import type { UnitOfWork } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { type Fate, SimulatedDatabase, SimulatedProcess, type SimulatedSession } from './simulated-database.js';
import { SimulatedDeadLetterStore } from './simulated-dead-letters.js';
import { sessionOf, SHARDS_HERE, SimulatedConsumerStore, SimulatedEventLog, SimulatedUnitOfWork } from './simulated-storage.js';

@DomainEvent('world.happened', { version: 1, stream: (e) => ['stream', e.id] })
class Happened {
  constructor(
    readonly id: string,
    readonly writer: number,
    readonly turn: number,
  ) {}
}

/** How the handler fails for one event of one stream, and how often. */
export interface Fault {
  readonly stream: number;
  readonly version: number;
  readonly kind: 'named' | 'unnamed';
  readonly times: number;
}

export interface History {
  /** Of each writer its transactions: the streams of the events, and whether it changes its mind. */
  readonly writers: readonly { readonly transactions: readonly { readonly streams: readonly number[]; readonly commits: boolean }[]; readonly lives: readonly Life[] }[];
  /** Of each worker what befalls it; when it was killed, the next life begins. */
  readonly workers: readonly { readonly lives: readonly Life[] }[];
  readonly faults: readonly Fault[];
  /** The operator pauses the consumer after so many moments, for so many. */
  readonly pauses: readonly { readonly after: number; readonly length: number }[];
}

/** Which statement of the process meets which fate. */
export type Life = ReadonlyMap<number, Fate>;

export interface Ports {
  units: UnitOfWork;
  log: EventLog;
  store: ConsumerStore;
  letters: DeadLetterStore;
  effect: (session: SimulatedSession, consumer: string, event: StoredEvent) => void;
}

/** Breaks a rule of the storage in every process. */
export type Mutant = (ports: Ports, database: SimulatedDatabase) => void;

const SETTINGS = { batchSize: 5, batchBytes: 1e6, consumerAttempts: 3, consumerBackoffMs: 0, reconcileEveryMs: 20, wakeUpWindowMs: 0, drainTimeoutMs: 0 };
/** More than any history needs: it goes on for ever. */
const MOST_MOMENTS = 40_000;
/** For those who are late to do harm. */
const MOMENTS_AFTERWARDS = 60;

export class World {
  private readonly database: SimulatedDatabase;
  private readonly faults = new Map<string, { kind: Fault['kind']; times: number }>();
  private readonly listeners = new Map<string, (wakeUp: WakeUp) => Promise<void>>();
  private writing = 0;

  constructor(
    private readonly history: History,
    private readonly how: Pick<Consumer, 'parallelism' | 'onError' | 'runBy'>,
    scheduler: Scheduler,
    private readonly mutant: Mutant = () => undefined,
  ) {
    this.database = new SimulatedDatabase(scheduler);
    for (const { kind, stream, times, version } of history.faults) this.faults.set(`stream-${stream} ${version}`, { kind, times });
  }

  /** Resolves when all is worked off but what is poisoned. @throws when that never is. */
  async play(): Promise<void> {
    const { writers, workers } = this.history;
    this.writing = writers.length;
    writers.forEach((_, index) => void this.write(index));
    workers.forEach(
      ({ lives }, index) =>
        void this.live(`worker ${index}`, lives, (process) =>
          this.application(process)
            .start()
            .then(() => process.death),
        ),
    );
    await Promise.all([this.operate(), this.settled()]);
  }

  /** The faults are mended, and the operator has everything tried again. */
  async mend(): Promise<void> {
    this.faults.clear();
    const { letters, store } = this.ports(new SimulatedProcess('operator', this.database, new Map()));
    await letters.retryNow({ consumer: 'counted' });
    if (this.state === 'halted') await store.setState('counted', 'running', null);
    await this.settled();
  }

  get state(): ConsumerState {
    return this.database.read<{ state: ConsumerState }>('consumer counted')!.state;
  }

  get letters(): DeadLetter[] {
    return this.database.keys('letter ').map((key) => this.database.read<DeadLetter>(key)!);
  }

  get log(): StoredEvent[] {
    return Array.from({ length: SHARDS_HERE }, (_, shard) => this.database.read<StoredEvent[]>(`log ${shard}`) ?? []).flat();
  }

  get effects(): StoredEvent[] {
    return this.database.effects.map(({ event }) => event);
  }

  /** Whether the handler will never take this event. */
  isPoisoned = ({ stream, version }: StoredEvent): boolean => (this.faults.get(`${stream} ${version}`)?.times ?? 0) > 0;

  private ports(process: SimulatedProcess): Ports {
    const ports: Ports = {
      units: new SimulatedUnitOfWork(process),
      log: new SimulatedEventLog(process),
      store: new SimulatedConsumerStore(process),
      letters: new SimulatedDeadLetterStore(process),
      effect: (session, consumer, event) => session.effect(consumer, event),
    };
    this.mutant(ports, this.database);
    return ports;
  }

  private application(process: SimulatedProcess) {
    const { effect, letters, log, store, units } = this.ports(process);
    const capture = new EventCapture(units, log);
    const wakeUps = { committed: () => this.wake() } as unknown as WakeUps;
    const transport = new SimulatedTransport((handler) => this.listeners.set(process.name, handler));
    const runtime = new ConsumerRuntime(units, log, store, letters, new ConsumerRegistry(), SETTINGS, capture, wakeUps, transport, new SimulatedClock(process));
    const registered = runtime.register([this.consumer(effect)]);
    return {
      registered,
      start: () => registered.then(() => runtime.start()),
      publish: (events: readonly Happened[], commits: boolean) =>
        units.run(async () => {
          void capture.take(events, () => undefined);
          if (!commits) throw new Error('changed its mind');
        }),
    };
  }

  private consumer(effect: Ports['effect']): Consumer {
    return {
      ...{ name: 'counted', kind: 'projection', consumerClass: World, events: [Happened], version: 1, startFrom: 'beginning', entities: [] },
      ...this.how,
      handle: async (unit, events) => {
        const session = sessionOf(unit);
        await session.statement('load rows', () => undefined);
        for (const { stored } of events) {
          const fault = this.faults.get(`${stored.stream} ${stored.version}`);
          if (fault && fault.times-- > 0) throw fault.kind === 'named' ? new EventFailure(stored, new Error('poison')) : new Error('a write of several rows failed');
          effect(session, 'counted', stored);
        }
        await session.statement('write rows', () => undefined);
      },
    };
  }

  /** One life after the other, until one is not killed. */
  private async live(name: string, [life = new Map(), ...later]: readonly Life[], run: (process: SimulatedProcess) => Promise<void>): Promise<void> {
    const process = new SimulatedProcess(name, this.database, life);
    // One that could not start ends, too.
    await Promise.race([run(process).catch(() => process.kill()), process.death]);
    if (process.isAlive) return;
    await process.death;
    await this.live(name, later, run);
  }

  private async write(index: number): Promise<void> {
    const { lives, transactions } = this.history.writers[index]!;
    const turns = [...transactions.entries()];
    await this.live(`writer ${index}`, lives, async (process) => {
      const { publish, registered } = this.application(process);
      await registered;
      for (let next = turns.shift(); next; next = turns.shift()) {
        const [turn, { commits, streams }] = next;
        await publish(
          streams.map((stream) => new Happened(String(stream), index, turn)),
          commits,
        ).catch(() => 'the user is told, and goes on');
      }
    });
    this.writing--;
  }

  private async operate(): Promise<void> {
    const { store } = this.ports(new SimulatedProcess('operator', this.database, new Map()));
    for (const { after, length } of this.history.pauses) {
      await this.moments(after);
      if (this.database.read('consumer counted') && this.state === 'running') {
        await store.setState('counted', 'paused', 'a look');
        await this.moments(length);
        await store.setState('counted', 'running', null);
      }
    }
  }

  private wake(): void {
    const [first] = this.listeners.values();
    void this.database.moment('a wake-up').then(() => first?.({ consumer: 'counted', forced: false }));
  }

  private async settled(): Promise<void> {
    while (!this.isSettled()) {
      if (this.database.moments > MOST_MOMENTS) throw new Error('it goes on for ever');
      await this.database.moment('look');
    }
    await this.moments(MOMENTS_AFTERWARDS);
    if (!this.isSettled()) await this.settled();
  }

  private isSettled(): boolean {
    if (this.writing > 0 || !this.database.read('consumer counted')) return false;
    if (this.state !== 'running') return this.state === 'halted';
    const behind =
      this.log.length -
      Array.from({ length: SHARDS_HERE }, (_, shard) => this.database.read<{ seq: number }>(`checkpoint counted ${shard}`)!.seq).reduce((sum, seq) => sum + seq, 0);
    return behind === 0 && this.letters.every(({ state }) => state === 'parked');
  }

  private async moments(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.database.moment('time passes');
  }
}

class SimulatedTransport extends WakeUpTransport {
  constructor(private readonly onListen: (handler: (wakeUp: WakeUp) => Promise<void>) => void) {
    super();
  }
  override signal = () => Promise.resolve();
  override arrange = () => Promise.resolve();
  override listen(handler: (wakeUp: WakeUp) => Promise<void>): Promise<void> {
    this.onListen(handler);
    return Promise.resolve();
  }
  override stop = () => Promise.resolve();
}

/** A pause takes one moment, however long it is said to be: what comes first is the scheduler's choice. */
class SimulatedClock extends Clock {
  constructor(private readonly process: SimulatedProcess) {
    super();
  }
  override now(): number {
    return this.process.database.micros / 1_000;
  }
  override async sleep(ms: number): Promise<void> {
    await this.process.moment('sleep');
    this.process.database.micros += ms * 10;
  }
}
