/** A read side in memory, for specs: checkpoints and dead letters as units see them, and a clock whose every pause lets something happen. */
import type { ConsumerStore } from '../events/consumer-store.js';
import type { DeadLetter, DeadLetterStore } from '../events/dead-letter-store.js';
import type { EventLog } from '../events/event-log.js';
import { Clock } from '../kernel/clock.js';
import { currentUnit, scopes, Unit, UnitOfWork, type UnitOptions } from '../kernel/unit-of-work.js';
import { encodeToken, streamHash, type TokenContents } from './consistency-token.js';

export const LOG = 'this-log';

export class MemoryUnit extends Unit {
  /** What the snapshot sees, taken when it is opened. */
  readonly seen: { positions: Map<string, Map<number, number>>; letters: DeadLetter[] };
  constructor(kind: Unit['kind'], world: MemoryReadSide) {
    super(kind, 1);
    this.seen = { positions: new Map([...world.positions].map(([name, of]) => [name, new Map(of)])), letters: [...world.letters] };
  }
}

export class MemoryReadSide {
  readonly positions = new Map<string, Map<number, number>>();
  letters: DeadLetter[] = [];
  heads = new Map<number, number>();
  now = 0;
  onPause: (pauses: number) => void = () => undefined;
  private pauses = 0;
  snapshots = 0;

  readonly units: UnitOfWork = new (class extends UnitOfWork {
    constructor(private readonly world: MemoryReadSide) {
      super();
    }
    run<T>(work: (unit: Unit) => Promise<T>, { kind = 'write' }: UnitOptions = {}): Promise<T> {
      const open = currentUnit();
      if (open) return work(open);
      this.world.snapshots++;
      const unit = new MemoryUnit(kind, this.world);
      return scopes.run({ unit }, () => work(unit));
    }
    isTransient(): boolean {
      return false;
    }
  })(this);

  readonly clock: Clock = new (class extends Clock {
    constructor(private readonly world: MemoryReadSide) {
      super();
    }
    override now(): number {
      return this.world.now;
    }
    override async sleep(ms: number): Promise<void> {
      if (currentUnit()) throw new Error('a wait must not hold a connection');
      this.world.now += ms;
      this.world.onPause(++this.world.pauses);
    }
  })(this);

  readonly store = {
    status: async () => [...this.positions.keys()].map((consumer) => ({ consumer, generation: 1 })),
    positions: async (consumers: readonly string[], shards: readonly number[], unit?: MemoryUnit) => {
      const { positions } = unit?.seen ?? this;
      return new Map(consumers.map((name) => [name, new Map([...(positions.get(name) ?? [])].filter(([shard]) => shards.includes(shard)))]));
    },
  } as unknown as ConsumerStore;

  readonly letterStore = {
    held: async (unit: MemoryUnit, consumer: string, generation: number | 'live', shards: readonly number[]) =>
      unit.seen.letters.filter((letter) => letter.consumer === consumer && letter.generation === (generation === 'live' ? 1 : generation) && shards.includes(letter.shard)),
  } as unknown as DeadLetterStore;

  readonly log = { heads: async () => ({ cutMicros: 0, heads: this.heads }) } as unknown as EventLog;
}

/** By default of one event of order-1, in shard 0. */
export const tokenFor = (seq: number, streams: TokenContents['streams'] = new Set([streamHash('\norder-1')]), shard = 0): string =>
  encodeToken(LOG, { positions: new Map([[shard, seq]]), streams });
