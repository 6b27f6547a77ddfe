import type { Unit } from '../kernel/unit-of-work.js';

const EFFECTS = Symbol('tandem:job-effects');

/** Says that the handler of this message wrote in this unit: a job's "done" belongs there, and in no other unit that its run opens. */
export function noteEffect(unit: Unit, messageId: string): void {
  unit.notes.set(EFFECTS, new Set([...effectsIn(unit), messageId]));
}

export const holdsEffect = (unit: Unit, messageId: string): boolean => effectsIn(unit).has(messageId);

const effectsIn = (unit: Unit): ReadonlySet<string> => (unit.notes.get(EFFECTS) as ReadonlySet<string> | undefined) ?? new Set();
