/**
 * What is known of the changes of each entity. *Told*: somebody said that it has changed. *Found*: a look at the checkpoints showed
 * that an event for it was handled, up to which positions (its *floor*). A stamp taken before an answer is computed tells later
 * whether any of what it read has changed since: counters only grow, so two equal sums mean that none has.
 */
export interface Stamp {
  readonly told: number;
  readonly found: number;
}

export interface StampedAnswer {
  /** Taken before it was computed. */
  readonly stamp: Stamp;
  /** See `Reading.passed`. */
  readonly passed: ReadonlyMap<number, number> | undefined;
}

export class ChangeCounters {
  private readonly told = new Map<string, number>();
  private readonly found = new Map<string, number>();
  private readonly floors = new Map<string, Map<number, number>>();
  private everything = 0;

  changed(entities: readonly string[]): void {
    for (const entity of entities) increase(this.told, entity);
  }

  everythingChanged(): void {
    this.everything++;
  }

  /** What was read before `floor` (shard → position) may lack a change. */
  changedUpTo(entities: readonly string[], floor: ReadonlyMap<number, number>): void {
    for (const entity of entities) {
      increase(this.found, entity);
      const known = this.floors.get(entity) ?? new Map<number, number>();
      for (const [shard, seq] of floor) known.set(shard, Math.max(seq, known.get(shard) ?? 0));
      this.floors.set(entity, known);
    }
  }

  stamp(entities: readonly string[]): Stamp {
    return { told: sum(this.told, entities) + this.everything, found: sum(this.found, entities) };
  }

  /** Whether an answer that read these entities is as good as one computed now, as far as is known. */
  isCurrent(entities: readonly string[], { passed, stamp }: StampedAnswer): boolean {
    const now = this.stamp(entities);
    if (now.told !== stamp.told) return false;
    return now.found === stamp.found || (passed !== undefined && entities.every((entity) => this.isAbove(this.floors.get(entity), passed)));
  }

  private isAbove(floor: ReadonlyMap<number, number> | undefined, passed: ReadonlyMap<number, number>): boolean {
    for (const [shard, seq] of floor ?? []) if ((passed.get(shard) ?? 0) < seq) return false;
    return true;
  }
}

export const isSameStamp = (a: Stamp, b: Stamp): boolean => a.told === b.told && a.found === b.found;

function increase(counters: Map<string, number>, entity: string): void {
  counters.set(entity, (counters.get(entity) ?? 0) + 1);
}

const sum = (counters: ReadonlyMap<string, number>, entities: readonly string[]): number => entities.reduce((total, entity) => total + (counters.get(entity) ?? 0), 0);
