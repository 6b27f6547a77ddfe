/** Rule → examples of where it was broken, and how often. */
export interface Violation {
  readonly rule: string;
  readonly count: number;
  readonly examples: readonly string[];
}

const EXAMPLES = 5;

export function violation(rule: string, found: readonly string[]): Violation[] {
  return found.length === 0 ? [] : [{ rule, count: found.length, examples: found.slice(0, EXAMPLES) }];
}

/** Keys whose value is not the expected one, with both. */
export function differences(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string[] {
  const keys = new Set([...found.keys(), ...expected.keys()]);
  return [...keys].filter((key) => found.get(key) !== expected.get(key)).map((key) => `${key}: ${found.get(key) ?? 'no row'} instead of ${expected.get(key) ?? 'no row'}`);
}
