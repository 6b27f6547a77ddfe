import { Injectable } from '@nestjs/common';
import { type ConsumerState, type ConsumerStatus, ConsumerStore } from '../../../events/consumer-store.js';
import { DeadLetterStore } from '../../../events/dead-letter-store.js';
import { EventLog, SHARDS, type Heads, type ShardRange } from '../../../events/event-log.js';
import { Clock } from '../../../kernel/clock.js';
import { UnitOfWork } from '../../../kernel/unit-of-work.js';
import { type Rebuild, type RebuildState, RebuildStore } from './rebuild-store.js';

/** How fast something moves, and when it will be there. */
export interface Pace {
  /** Events a second, of any type; null while it is not known. */
  readonly ratePerSecond: number | null;
  /** Until nothing is left to read at this rate, in seconds; null while it is not known. */
  readonly secondsLeft: number | null;
}

export interface RebuildProgress extends Pace {
  readonly generation: number;
  /** Of the code that builds it. */
  readonly version: number;
  readonly state: RebuildState;
  /** Why it is blocked. */
  readonly reason: string | null;
  /** Events that it has read, of all types. */
  readonly handled: number;
  /** Events in the log. */
  readonly total: number;
  /** Streams that it holds back. */
  readonly deadLetters: number;
}

export interface ProjectionStatus extends Pace {
  readonly name: string;
  readonly state: ConsumerState;
  /** Why it does not run. */
  readonly reason: string | null;
  /** Of the live rows: 1, and another one after each rebuild or reset. */
  readonly generation: number;
  /** Of the code that made the live rows. */
  readonly version: number;
  /** Shard → number of the last event that the live rows hold. */
  readonly position: ReadonlyMap<number, number>;
  /** Events that are not in the live rows yet, of any type. */
  readonly lagEvents: number;
  /** Age of the oldest of them, in seconds. */
  readonly lagSeconds: number;
  /** Streams that the live rows hold back. */
  readonly deadLetters: number;
  /** What is being rebuilt beside them, or null. */
  readonly rebuild: RebuildProgress | null;
}

interface Sample {
  readonly at: number;
  readonly handled: number;
  readonly rate: number | null;
}

type Positions = ReadonlyMap<number, number>;

const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);
/** A rate over less than this is noise, in milliseconds. */
const SAMPLE_MS = 500;

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, each) => total + each, 0);
const behind = (heads: Positions, at: Positions | undefined): number => sum([...heads].map(([shard, head]) => Math.max(0, head - (at?.get(shard) ?? 0))));

/** How far projections and their rebuilds are. Rates are measured between two looks of this process. */
@Injectable()
export class ProjectionStatuses {
  private readonly samples = new Map<string, Sample>();

  constructor(
    private readonly store: ConsumerStore,
    private readonly rebuilds: RebuildStore,
    private readonly letters: DeadLetterStore,
    private readonly log: EventLog,
    private readonly units: UnitOfWork,
    private readonly clock: Clock,
  ) {}

  async of(names: readonly string[]): Promise<readonly ProjectionStatus[]> {
    const states = new Map((await this.store.status()).map((status) => [status.consumer, status]));
    const versions = new Map((await this.store.registered()).map(({ liveVersion = 1, name }) => [name, liveVersion]));
    const rebuilds = new Map((await this.rebuilds.list()).map((rebuild) => [rebuild.consumer, rebuild]));
    const positions = await this.store.positions(names, ALL_SHARDS);
    const heads = await this.log.heads();
    const found: ProjectionStatus[] = [];
    for (const name of names) {
      const status = states.get(name);
      const rebuild = rebuilds.get(name);
      if (status) found.push(await this.one(status, { version: versions.get(name) ?? 1, position: positions.get(name) ?? new Map(), heads, rebuild }));
    }
    return found;
  }

  /** Of one rebuild. */
  async progress(rebuild: Rebuild, heads?: Heads): Promise<RebuildProgress> {
    const { consumer, generation, reason, state, version } = rebuild;
    const known = (heads ?? (await this.log.heads())).heads;
    const total = sum(known.values());
    const left = behind(known, await this.rebuilds.positions(consumer, generation));
    const handled = total - left;
    const rate = this.rate(`${consumer}\n${generation}`, handled) ?? (rebuild.ageMs > SAMPLE_MS && handled > 0 ? handled / (rebuild.ageMs / 1_000) : null);
    const deadLetters = (await this.letters.list({ consumer, generation })).length;
    return { generation, version, state, reason, handled, total, deadLetters, ...pace(rate, left) };
  }

  private async one(
    { consumer: name, generation, reason, state }: ConsumerStatus,
    { heads, position, rebuild, version }: { readonly version: number; readonly position: Positions; readonly heads: Heads; readonly rebuild: Rebuild | undefined },
  ): Promise<ProjectionStatus> {
    const lagEvents = behind(heads.heads, position);
    const rate = this.rate(`${name}\n${generation} live`, sum(position.values()));
    return {
      ...{ name, state, reason, generation, version, position, lagEvents },
      lagSeconds: lagEvents === 0 ? 0 : await this.ageOfOldest(heads, position),
      deadLetters: (await this.letters.list({ consumer: name, generation })).length,
      ...pace(rate, lagEvents),
      rebuild: rebuild ? await this.progress(rebuild, heads) : null,
    };
  }

  private async ageOfOldest({ cutMicros, heads }: Heads, position: Positions): Promise<number> {
    const next: ShardRange[] = [...heads]
      .map(([shard]) => ({ shard, after: position.get(shard) ?? 0, upTo: (position.get(shard) ?? 0) + 1 }))
      .filter(({ shard, after }) => after < heads.get(shard)!);
    const keys = await this.units.run((unit) => this.log.readKeys(unit, next), { kind: 'snapshot' });
    const oldest = Math.min(...keys.map(({ recordedAtMicros }) => recordedAtMicros));
    return keys.length === 0 ? 0 : Math.max(0, (cutMicros - oldest) / 1_000_000);
  }

  private rate(key: string, handled: number): number | null {
    const at = this.clock.now();
    const before = this.samples.get(key);
    if (before && at - before.at < SAMPLE_MS) return before.rate;
    const rate = before ? Math.max(0, (handled - before.handled) / ((at - before.at) / 1_000)) : null;
    this.samples.set(key, { at, handled, rate });
    return rate;
  }
}

const pace = (rate: number | null, left: number): Pace => ({ ratePerSecond: rate, secondsLeft: left === 0 ? 0 : rate === null || rate === 0 ? null : left / rate });
