/** Rules of the library that can be broken on purpose: `application/mutants.ts` says how. */
export const MUTANT_NAMES = ['checkpoint-apart', 'job-done-apart', 'numbers-apart', 'held-streams-go-on', 'claim-without-epoch', 'wake-ups-only', 'answer-before-commit'] as const;

export type MutantName = (typeof MUTANT_NAMES)[number];
