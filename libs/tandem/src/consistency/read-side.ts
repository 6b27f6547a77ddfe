import { Injectable } from '@nestjs/common';
import type { Consumer } from '../events/consumer.js';
import { ConsumerStore } from '../events/consumer-store.js';
import { type DeadLetter, DeadLetterStore } from '../events/dead-letter-store.js';
import { SHARDS } from '../events/event-log.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { streamHash, type TokenContents } from './consistency-token.js';

/** What a snapshot shows of some projections, against what was demanded. */
export interface Look {
  readonly fresh: boolean;
  /** Names of those that have not passed the demanded positions. */
  readonly lagging: readonly string[];
  /** Dead letters that stand between the projections and what was demanded. */
  readonly held: readonly DeadLetter[];
  /** See `Reading.passed`. */
  readonly passed: ReadonlyMap<number, number> | undefined;
}

export interface LookFor {
  readonly consumers: readonly Consumer[];
  readonly target: TokenContents | undefined;
  /** Also look at the shards that nothing is demanded of. */
  readonly keepPositions: boolean;
}

type AllPositions = ReadonlyMap<string, ReadonlyMap<number, number>>;

const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);

/** How far the projections are, as one snapshot shows it. */
@Injectable()
export class ReadSide {
  private nextPositions: { readonly names: Set<string>; readonly shards: Set<number>; readonly found: Promise<AllPositions> } | undefined;
  private lastPositions: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly store: ConsumerStore,
    private readonly letters: DeadLetterStore,
  ) {}

  /** Reads in the unit: what it says holds for everything that the unit reads afterwards. */
  async look(unit: Unit, { consumers, target, keepPositions }: LookFor): Promise<Look> {
    const shards = keepPositions ? ALL_SHARDS : [...(target?.positions.keys() ?? [])];
    if (consumers.length === 0 || shards.length === 0) return { fresh: true, lagging: [], held: [], passed: undefined };
    const names = consumers.map(({ name }) => name);
    const positions = await this.store.positions(names, shards, unit);
    const unknown = names.filter((name) => (positions.get(name)?.size ?? 0) === 0);
    const lagging = new Set(target ? names.filter((name) => !hasPassed(positions.get(name), target)) : []);
    const letters: DeadLetter[] = [];
    const held: DeadLetter[] = [];
    for (const consumer of consumers) {
      const own = await this.letters.held(unit, consumer.name, 'live', consumer.onError === 'halt' ? ALL_SHARDS : shards);
      letters.push(...own);
      // One that halts stops at its first failed event, whosever that is.
      const halted = consumer.onError === 'halt' && lagging.has(consumer.name);
      if (target) held.push(...own.filter((letter) => halted || standsBefore(letter, target)));
    }
    const passed = keepPositions && letters.length + unknown.length === 0 ? lowest(names, positions) : undefined;
    return { fresh: lagging.size === 0 && held.length === 0, lagging: [...lagging], held, passed };
  }

  /** Outside of any unit, and only of the checkpoints: whether it is worth a look. One statement at a time answers all who have asked since the last. */
  async havePassed({ consumers, target }: Pick<LookFor, 'consumers' | 'target'>): Promise<boolean> {
    if (!target) return true;
    this.nextPositions ??= this.newQuestion();
    const { found, names, shards } = this.nextPositions;
    for (const { name } of consumers) names.add(name);
    for (const shard of target.positions.keys()) shards.add(shard);
    const positions = await found;
    return consumers.every(({ name }) => hasPassed(positions.get(name), target));
  }

  private newQuestion() {
    const names = new Set<string>();
    const shards = new Set<number>();
    const found = this.lastPositions.then(() => {
      this.nextPositions = undefined; // who asks from here on may want to see more than this will
      return this.store.positions([...names], [...shards]);
    });
    this.lastPositions = found.catch(() => undefined); // those who asked have the error
    return { names, shards, found };
  }
}

/** True when no shard of the target lies beyond these positions. */
export function hasPassed(positions: ReadonlyMap<number, number> | undefined, target: TokenContents | undefined): boolean {
  return !target || [...target.positions].every(([shard, seq]) => (positions?.get(shard) ?? 0) >= seq);
}

/** A letter holds its stream back from its position on; what the target has of that stream before it was handled. */
function standsBefore(letter: DeadLetter, target: TokenContents): boolean {
  const seq = target.positions.get(letter.shard);
  return seq !== undefined && letter.seq <= seq && (target.streams === 'any' || target.streams.has(streamHash(`${letter.tenant}\n${letter.stream}`)));
}

const lowest = (names: readonly string[], positions: ReadonlyMap<string, ReadonlyMap<number, number>>): ReadonlyMap<number, number> =>
  new Map(ALL_SHARDS.map((shard) => [shard, Math.min(...names.map((name) => positions.get(name)?.get(shard) ?? 0))]));
