/**
 * Answers of query handlers, kept in this process's memory, one cache per application instance. An *entry* remembers the
 * positions it was read at, so that a query with a token takes it only when it holds that token's writes, and the *stamp* of its
 * entities, so that it dies with the first change. A *flight* is a computation under way that equal queries wait for.
 */
import { Inject, Injectable, Logger, Optional, type Type } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { canonicalText } from '../../kernel/canonical-text.js';
import { currentMessage } from '../../kernel/message-context.js';
import { currentUnit } from '../../kernel/unit-of-work.js';
import { hasUnseenState } from '../../kernel/unseen-state.js';
import { FreshRead, type Reading } from '../query/fresh-read.js';
import type { ReadDemand } from '../query/read-demand.js';
import { noteCacheHit } from './cache-hits.js';
import { type CacheResultDefinition, cacheResultOf } from './cache-result.js';
import { ChangeCounters, isSameStamp, type Stamp, type StampedAnswer } from './change-counters.js';
import { freezeAnswer } from './freeze-answer.js';
import { entityName, InvalidationChannel } from './invalidation-channel.js';

/** Answers kept at most, over all handlers without `maxEntries` of their own. */
const MAX_ENTRIES = 10_000;

export interface AskedQuery {
  readonly handlerClass: Type;
  readonly query: object;
  readonly demand: ReadDemand;
  readonly entities: readonly Type[] | undefined;
}

type Compute = (keepPositions: boolean) => Promise<Reading<unknown>>;

interface Entry extends StampedAnswer {
  readonly value: unknown;
}

interface Flight {
  readonly stamp: Stamp;
  readonly value: Promise<unknown>;
}

interface Place {
  readonly key: string;
  /** Of the entities that the answer depends on. */
  readonly names: readonly string[];
  readonly definition: CacheResultDefinition;
}

export interface QueryCacheCounts {
  /** Queries of cached handlers that were answered without running the handler. */
  readonly hits: number;
  /** Queries of cached handlers that ran it. */
  readonly misses: number;
}

@Injectable()
export class QueryCache {
  private readonly logger = new Logger('Tandem');
  private readonly changes = new ChangeCounters();
  private readonly shared = new LRUCache<string, Entry>({ max: MAX_ENTRIES });
  private readonly readEntities = new Set<Type>();
  private readonly own = new Map<Type, LRUCache<string, Entry>>();
  private readonly flights = new Map<string, Flight>();
  private readonly ids = new Map<Type, number>();
  private readonly warned = new Set<Type>();
  private hits = 0;
  private misses = 0;

  constructor(
    private readonly fresh: FreshRead,
    @Optional() @Inject(InvalidationChannel) private readonly channel?: InvalidationChannel,
  ) {}

  /** Since the process started. */
  get counts(): QueryCacheCounts {
    return { hits: this.hits, misses: this.misses };
  }

  /** True when no answer is kept whose time is not over. */
  get isEmpty(): boolean {
    for (const entries of this.caches) entries.purgeStale();
    return this.caches.every(({ size }) => size === 0);
  }

  /** What the queries that it was asked read. */
  get entities(): ReadonlySet<Type> {
    return this.readEntities;
  }

  /** Answers from the cache where that is right, else computes. Inside an open unit it always computes: what a unit sees is its own. */
  async answer(asked: AskedQuery, compute: Compute): Promise<unknown> {
    const definition = cacheResultOf(asked.handlerClass);
    if (!definition) return (await compute(false)).value;
    if (!asked.entities?.length || currentUnit() || !this.usable || this.unseen(asked)) return this.bypass(asked, compute);
    for (const entity of asked.entities) this.readEntities.add(entity);
    const names = asked.entities.map(entityName);
    const key = this.keyOf(asked);
    const entry = this.entriesOf(asked.handlerClass, definition).get(key);
    if (entry && this.changes.isCurrent(names, entry) && this.fresh.satisfies(asked.demand, entry.passed)) return this.hit(entry.value);
    return this.fly(asked, { key, names, definition }, compute);
  }

  /** Drops every answer that read one of these entities, and keeps those from being stored that are being computed now. */
  invalidate(entities: readonly string[]): void {
    this.changes.changed(entities);
  }

  /** As `invalidate`, but keeps what was read at or after these positions (shard → position). */
  invalidateUpTo(entities: readonly string[], floor: ReadonlyMap<number, number>): void {
    this.changes.changedUpTo(entities, floor);
  }

  /** Drops every answer. */
  invalidateAll(): void {
    this.changes.everythingChanged();
    for (const entries of this.caches) entries.clear();
  }

  private get caches(): LRUCache<string, Entry>[] {
    return [this.shared, ...this.own.values()];
  }

  /** Without word from the other processes, an answer may be old and nobody would tell. */
  private get usable(): boolean {
    return this.channel?.connected ?? true;
  }

  /** Two queries that differ only in what cannot be seen would share one answer. */
  private unseen({ handlerClass, query }: AskedQuery): boolean {
    if (!hasUnseenState(query)) return false;
    this.warn(handlerClass, `${query.constructor.name} has private fields, or keeps none of its parameters, so that two of them cannot be told apart: make its properties public`);
    return true;
  }

  private async bypass(asked: AskedQuery, compute: Compute): Promise<unknown> {
    this.misses++;
    const { value } = await compute(false);
    this.freeze(asked.handlerClass, value);
    return value;
  }

  private hit(value: unknown): unknown {
    this.hits++;
    noteCacheHit();
    return value;
  }

  /** Equal demands share one computation, unless something changed since it began: it may have read the old row. */
  private async fly(asked: AskedQuery, place: Place, compute: Compute): Promise<unknown> {
    const stamp = this.changes.stamp(place.names);
    const flightKey = sharedBy(asked.demand, place.key);
    const underway = flightKey === undefined ? undefined : this.flights.get(flightKey);
    if (underway && isSameStamp(underway.stamp, stamp)) return this.hit(await underway.value);
    this.misses++;
    const flight: Flight = { stamp, value: this.compute(asked.handlerClass, { ...place, stamp }, compute) };
    if (flightKey === undefined) return flight.value;
    this.flights.set(flightKey, flight);
    try {
      return await flight.value;
    } finally {
      if (this.flights.get(flightKey) === flight) this.flights.delete(flightKey);
    }
  }

  /** An answer during whose computation something changed is returned and not stored. */
  private async compute(handlerClass: Type, place: Place & { readonly stamp: Stamp }, compute: Compute): Promise<unknown> {
    const { definition, key, names, stamp } = place;
    const { value, passed } = await compute(true);
    const entry: Entry = { value, passed, stamp };
    if (this.freeze(handlerClass, value) && this.usable && this.changes.isCurrent(names, entry))
      this.entriesOf(handlerClass, definition).set(key, entry, { ttl: definition.ttlMs });
    return value;
  }

  private freeze(handlerClass: Type, value: unknown): boolean {
    if (freezeAnswer(value)) return true;
    this.warn(handlerClass, 'its answer holds bytes, functions, promises or accessors, which cannot be frozen');
    return false;
  }

  private warn(handlerClass: Type, why: string): void {
    if (this.warned.has(handlerClass)) return;
    this.warned.add(handlerClass);
    this.logger.warn(`@CacheResult on ${handlerClass.name} keeps nothing: ${why}`);
  }

  private entriesOf(handlerClass: Type, { maxEntries }: CacheResultDefinition): LRUCache<string, Entry> {
    if (maxEntries === undefined) return this.shared;
    let entries = this.own.get(handlerClass);
    if (!entries) this.own.set(handlerClass, (entries = new LRUCache({ max: maxEntries })));
    return entries;
  }

  private keyOf({ handlerClass, query }: AskedQuery): string {
    return JSON.stringify([this.idOf(handlerClass), this.idOf(query.constructor as Type), currentMessage()?.tenant ?? null, canonicalText(query, 'the key of a cached result')]);
  }

  /** By the class itself: two may have one name. */
  private idOf(type: Type): number {
    let id = this.ids.get(type);
    if (id === undefined) this.ids.set(type, (id = this.ids.size));
    return id;
  }
}

/** Which flights a demand may share; a strong one none, since a later "now" is another. */
function sharedBy(demand: ReadDemand, key: string): string | undefined {
  switch (demand.kind) {
    case 'eventual':
      return key;
    case 'token':
      return JSON.stringify([key, demand.token, demand.onTimeout, demand.deadlineMs]);
    case 'strong':
      return undefined;
  }
}
