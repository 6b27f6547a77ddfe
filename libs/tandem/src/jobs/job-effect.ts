import type { Unit } from '../kernel/unit-of-work.js';

const EFFECTS = Symbol('tandem:job-effects');
const TOGETHER = Symbol('tandem:jobs-together');

/** Says that the handler of this message wrote in this unit: a job's "done" belongs there, and in no other unit that its run opens. */
export function noteEffect(unit: Unit, messageId: string): void {
  const effects = effectsIn(unit) ?? new Set();
  unit.notes.set(EFFECTS, effects.add(messageId));
}

export const holdsEffect = (unit: Unit, messageId: string): boolean => effectsIn(unit)?.has(messageId) ?? false;

const effectsIn = (unit: Unit): Set<string> | undefined => unit.notes.get(EFFECTS) as Set<string> | undefined;

/** How often the handler of one of several jobs has begun in their unit, and how often it has ended well. */
interface Calls {
  begun: number;
  ended: number;
}

const callsIn = (unit: Unit): ReadonlyMap<string, Calls> | undefined => unit.notes.get(TOGETHER) as ReadonlyMap<string, Calls> | undefined;

/** Says that this unit is that of several jobs: their handlers run in it as they are, without savepoints. */
export function noteTogether(unit: Unit, jobIds: readonly string[]): void {
  unit.notes.set(TOGETHER, new Map(jobIds.map((id) => [id, { begun: 0, ended: 0 }])));
}

export const runsTogether = (unit: Unit, messageId: string): boolean => callsIn(unit)?.has(messageId) ?? false;

/** Runs the handler of one of several jobs in their unit. */
export async function handleTogether<T>(unit: Unit, messageId: string, handle: () => Promise<T>): Promise<T> {
  const calls = callsIn(unit)!.get(messageId)!;
  calls.begun++;
  const result = await handle();
  calls.ended++;
  noteEffect(unit, messageId);
  return result;
}

/** False where an interceptor has answered for a handler that failed, was called twice or has not ended: what it wrote cannot be undone without what the others wrote. */
export function isWhole(unit: Unit, messageId: string): boolean {
  const { begun, ended } = callsIn(unit)!.get(messageId)!;
  return begun <= 1 && ended === begun;
}
