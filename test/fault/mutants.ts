/** Rules of the library that can be broken on purpose, what has to happen so that it shows, and where it has to show. `application/mutants.ts` breaks them. */
export interface Mutant {
  /** The rule that it breaks. */
  readonly breaks: string;
  /** Texts in the names of the faults that it is run under. */
  readonly only: readonly string[];
  /** Of the invariants: one of them has to be violated. */
  readonly caughtBy: RegExp;
}

export const MUTANTS = {
  'checkpoint-apart': {
    breaks: 'A batch writes its checkpoint in its own transaction',
    only: ['batch.after', 'kill of worker', 'stop of worker'],
    caughtBy: /^(Rows of|A free projection repeats)/,
  },
  'job-done-apart': {
    breaks: 'A job is marked done in the transaction of its effect',
    only: ['job.before-done', 'kill of worker'],
    caughtBy: /^(Every job has its effect|A job publishes|Orders are)/,
  },
  'numbers-apart': {
    breaks: 'The lock of a shard is held from taking numbers until COMMIT',
    only: ['append', 'command', 'kill of api'],
    caughtBy: /^(The numbers of a shard|Rows of|A free projection skips|Numbers are not taken)/,
  },
  'held-streams-go-on': {
    breaks: 'What comes behind a failed event of its stream waits',
    only: ['throw at batch', 'throw at saga', 'letter', 'kill of worker'],
    caughtBy: /^(Rows of poisoned streams|What is poisoned)/,
  },
  'epoch-ignored': {
    breaks: 'A run that another one has taken over has no effect',
    only: ['stop at job.after-handler', 'stop at job.before-done', 'stop at job.before-commit'],
    caughtBy: /^(Every job has its effect|A job publishes)/,
  },
  'wake-ups-only': {
    breaks: 'Workers look in SQL for what no wake-up told them',
    only: ['flush', 'queue', 'wake-up', 'saga.before-add', 'kill of worker'],
    caughtBy: /^(Every lag|Every job ends|Every held stream)/,
  },
  'answer-before-commit': {
    breaks: 'A command is answered when its transaction has committed',
    only: ['kill at command', 'kill at append', 'kill of api', 'cut'],
    caughtBy: /^What was acknowledged/,
  },
} as const satisfies Readonly<Record<string, Mutant>>;

export type MutantName = keyof typeof MUTANTS;

export const isMutant = (name: string): name is MutantName => Object.hasOwn(MUTANTS, name);
