import type { Unit } from '../../kernel/unit-of-work.js';

/** Not with an append: then by itself. */
type Alone = (unit: Unit) => Promise<void>;

const ALONE = Symbol('tandem:last-acts');

/**
 * Things that a unit does last of all, before COMMIT: its append takes them along, and where nothing is appended they are done by themselves. What is added inside a savepoint
 * that is rolled back is forgotten.
 */
export class LastActs<T> {
  private readonly list: symbol;
  private readonly taken: symbol;

  constructor(name: string) {
    this.list = Symbol(`tandem:${name}`);
    this.taken = Symbol(`tandem:${name}-taken`);
  }

  /** @param alone does all that have not been taken. */
  add(unit: Unit, acts: readonly T[], alone: Alone): void {
    if (acts.length === 0) return;
    for (const act of acts) unit.add(this.list, act);
    const all = (unit.notes.get(ALONE) as Map<LastActs<unknown>, Alone> | undefined) ?? new Map<LastActs<unknown>, Alone>();
    unit.notes.set(ALONE, all.set(this, alone));
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

/** What is left to be done by itself, in order of the kinds' first acts. */
export function lastActsOf(unit: Unit): readonly Alone[] {
  const all = unit.notes.get(ALONE) as Map<LastActs<unknown>, Alone> | undefined;
  return all ? [...all].filter(([acts]) => acts.isLeft(unit)).map(([, alone]) => alone) : [];
}
