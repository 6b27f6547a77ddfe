/**
 * Every caching process's own look at the checkpoints, so that no message between processes needs to arrive: a worker may end
 * between the COMMIT of a batch, or a swap, and telling of it. What moved since the last look, and had events for a projection in it, drops the
 * answers that were read before those; so does a stream that was held back and is so no longer.
 */
import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { type Consumer, typesOf } from '../../events/consumer.js';
import { ConsumerRegistry } from '../../events/consumer-registry.js';
import { ConsumerSettings } from '../../events/consumer-settings.js';
import { ConsumerStore, type Positions } from '../../events/consumer-store.js';
import { DeadLetterStore } from '../../events/dead-letter-store.js';
import { type EventKey, EventLog, SHARDS, type ShardRange } from '../../events/event-log.js';
import { Clock } from '../../kernel/clock.js';
import { UnitOfWork } from '../../kernel/unit-of-work.js';
import { entityName } from './invalidation-channel.js';
import { QueryCache } from './query-cache.js';

interface Seen {
  readonly positions: ReadonlyMap<string, Positions>;
  /** Consumer → the streams that it holds back. */
  readonly held: ReadonlyMap<string, string>;
}

/** Of more events than this since the last look it is not asked whether any was for a projection. */
const KEYS_AT_MOST = 2_000;
const LETTERS_AT_MOST = 1_000;
const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);

@Injectable()
export class CacheReconciler implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger('Tandem');
  private readonly stopping = new AbortController();
  private looking: Promise<void> | undefined;
  private before: Seen | undefined;

  constructor(
    private readonly cache: QueryCache,
    private readonly registry: ConsumerRegistry,
    private readonly store: ConsumerStore,
    private readonly letters: DeadLetterStore,
    private readonly log: EventLog,
    private readonly units: UnitOfWork,
    private readonly clock: Clock,
    private readonly settings: ConsumerSettings,
  ) {}

  onApplicationBootstrap(): void {
    this.looking = this.keepLooking();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.looking;
  }

  private async keepLooking(): Promise<void> {
    const { signal } = this.stopping;
    for (let failures = 0; ;) {
      await this.clock.sleep(this.settings.reconcileEveryMs, signal);
      if (signal.aborted) return;
      try {
        await this.look();
        failures = 0;
      } catch (error) {
        if (failures++ === 0)
          this.logger.warn(`The query cache could not be compared with the checkpoints and is again every ${this.settings.reconcileEveryMs} ms: ${String(error)}`);
      }
    }
  }

  /** Costs nothing while no answer is kept, two small statements while nothing has moved. */
  async look(): Promise<void> {
    if (this.cache.isEmpty) {
      this.before = undefined;
      return;
    }
    const consumers = this.registry.readingInto([...this.cache.entities]);
    const { before } = this;
    const now = await this.see(consumers);
    const moved = consumers.map((consumer) => ({ consumer, ranges: movedBetween(before?.positions.get(consumer.name), now.positions.get(consumer.name)) }));
    const keys = await this.keysOf(moved.flatMap(({ ranges }) => ranges));
    for (const { consumer, ranges } of moved) {
      const floor = keys ? lastOf(keys, ranges, typesOf(consumer)) : new Map(ranges.map(({ shard, upTo }) => [shard, upTo]));
      if (floor.size > 0) this.cache.invalidateUpTo(this.namesOf(consumer), floor);
      if (before && (before.held.get(consumer.name) !== now.held.get(consumer.name) || generationOf(before, consumer) !== generationOf(now, consumer)))
        this.cache.invalidate(this.namesOf(consumer));
    }
    this.before = now; // not before all of it was dropped: what failed is looked at again
  }

  private async see(consumers: readonly Consumer[]): Promise<Seen> {
    const names = consumers.map(({ name }) => name);
    const positions = await this.store.positions(names, ALL_SHARDS);
    const held = new Map<string, string>();
    for (const { consumer, tenant, stream, seq } of await this.letters.list({ consumers: names, limit: LETTERS_AT_MOST }))
      held.set(consumer, `${held.get(consumer) ?? ''}${tenant}\n${stream}\n${seq}\n`);
    return { positions, held };
  }

  /** Undefined: too many to look at. */
  private async keysOf(ranges: readonly ShardRange[]): Promise<readonly EventKey[] | undefined> {
    const all = united(ranges);
    if (all.length === 0) return [];
    if (all.reduce((sum, { after, upTo }) => sum + upTo - after, 0) > KEYS_AT_MOST) return undefined;
    return this.units.run((unit) => this.log.readKeys(unit, all), { kind: 'snapshot' });
  }

  /** A free projection that names no entity may have written any. */
  private namesOf({ entities }: Consumer): readonly string[] {
    return (entities.length > 0 ? entities : [...this.cache.entities]).map(entityName);
  }
}

/** Another one: the rows were rebuilt, and none is the one that was read. */
const generationOf = ({ positions }: Seen, { name }: Consumer): number | undefined => positions.get(name)?.generation;

/** Without an earlier look, all of it. */
function movedBetween(before: Positions | undefined, now: Positions | undefined): ShardRange[] {
  return [...(now ?? [])].map(([shard, upTo]) => ({ shard, after: before?.get(shard) ?? 0, upTo })).filter(({ after, upTo }) => upTo > after);
}

/** One range for each shard, which covers all of them. */
function united(ranges: readonly ShardRange[]): ShardRange[] {
  const byShard = new Map<number, ShardRange>();
  for (const { shard, after, upTo } of ranges) {
    const other = byShard.get(shard);
    byShard.set(shard, { shard, after: Math.min(after, other?.after ?? after), upTo: Math.max(upTo, other?.upTo ?? upTo) });
  }
  return [...byShard.values()];
}

/** Shard → the last event of these types in these ranges. */
function lastOf(keys: readonly EventKey[], ranges: readonly ShardRange[], types: readonly string[]): Map<number, number> {
  const own = new Map(ranges.map((range) => [range.shard, range]));
  const last = new Map<number, number>();
  for (const { shard, seq, type } of keys) {
    const range = own.get(shard);
    if (range && seq > range.after && seq <= range.upTo && types.includes(type)) last.set(shard, Math.max(seq, last.get(shard) ?? 0));
  }
  return last;
}
