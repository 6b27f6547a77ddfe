import type { Unit } from '../kernel/unit-of-work.js';

const EFFECTS = Symbol('tandem:job-effects');
const TOGETHER = Symbol('tandem:jobs-together');

/** Says that the handler of this message wrote in this unit: a job's "done" belongs there, and in no other unit that its run opens. */
export function noteEffect(unit: Unit, messageId: string): void {
  unit.notes.set(EFFECTS, new Set([...effectsIn(unit), messageId]));
}

export const holdsEffect = (unit: Unit, messageId: string): boolean => effectsIn(unit).has(messageId);

const effectsIn = (unit: Unit): ReadonlySet<string> => (unit.notes.get(EFFECTS) as ReadonlySet<string> | undefined) ?? new Set();

/** Says that this unit is that of several jobs: their handlers run in it as they are, without savepoints. */
export function noteTogether(unit: Unit, jobIds: readonly string[]): void {
  unit.notes.set(TOGETHER, new Set(jobIds));
}

export const runsTogether = (unit: Unit, messageId: string): boolean => (unit.notes.get(TOGETHER) as ReadonlySet<string> | undefined)?.has(messageId) ?? false;
