/**
 * A *contract* is what a port promises, as cases that need no test framework: each opens what is under test, empty, and throws an
 * `AssertionError` where a promise is broken.
 *
 *   for (const { name, run } of eventLogContract(open)) it(name, run);
 */
export interface ContractCase {
  /** The promise. */
  readonly name: string;
  /** Has a second transaction beside the open one, on purpose: leave it out where the database runs one at a time, as PGlite does. */
  readonly overlapping: boolean;
  run(): Promise<void>;
}

/** Gives what is under test with nothing stored in it. Called before each case; cases do not run at once. */
export type Open<S> = () => S | Promise<S>;

/** Name → what is tried. */
export type Promises<S> = Readonly<Record<string, (subject: S) => Promise<void>>>;

export function casesOf<S>(open: Open<S>, promises: Promises<S>, { overlapping = false } = {}): ContractCase[] {
  return Object.entries(promises).map(([name, check]) => ({ name, overlapping, run: async () => check(await open()) }));
}
