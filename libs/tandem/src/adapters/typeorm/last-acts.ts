import type { Unit } from '../../kernel/unit-of-work.js';

const ALONE = Symbol('tandem:last-acts');

interface Left {
  readonly kinds: Set<LastActs<unknown>>;
  readonly alone: (unit: Unit) => Promise<void>;
}

/**
 * Things that a unit does last of all, before COMMIT or with it: its append takes them along, and where nothing is appended they are done by themselves. What is added
 * inside a savepoint that is rolled back is forgotten.
 */
export class LastActs<T> {
  private readonly list: symbol;
  private readonly taken: symbol;

  constructor(name: string) {
    this.list = Symbol(`tandem:${name}`);
    this.taken = Symbol(`tandem:${name}-taken`);
  }

  /** @param alone does all that nobody has taken, of every kind, and may commit: a unit has one. */
  add(unit: Unit, acts: readonly T[], alone: Left['alone']): void {
    if (acts.length === 0) return;
    for (const act of acts) unit.add(this.list, act);
    const left = (unit.notes.get(ALONE) as Left | undefined) ?? { kinds: new Set(), alone };
    left.kinds.add(this);
    unit.notes.set(ALONE, left);
  }

  /** Those that nobody has taken yet; whoever takes them does them. */
  take(unit: Unit): readonly T[] {
    const acts = unit.listOf<T>(this.list);
    const from = this.takenOf(unit);
    if (acts.length > from) unit.notes.set(this.taken, acts.length);
    return acts.slice(from);
  }

  isLeft(unit: Unit): boolean {
    return unit.listOf(this.list).length > this.takenOf(unit);
  }

  private takenOf(unit: Unit): number {
    return (unit.notes.get(this.taken) as number | undefined) ?? 0;
  }
}

/** What its append has not done for this unit. */
export function lastActOf(unit: Unit): Left['alone'] | undefined {
  const left = unit.notes.get(ALONE) as Left | undefined;
  return left && [...left.kinds].some((kind) => kind.isLeft(unit)) ? left.alone : undefined;
}
