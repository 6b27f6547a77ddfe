/** One list of behaviours, observed on @nestjs/cqrs alone and on Tandem: each is the same, or a difference that compatibility.md names. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Running, type Side, start, type StartOptions } from './both.js';
import { Endings, oddities } from './oddities.js';

/** What is seen on each side; `optIn` where `unitOfWork: 'opt-in'` differs from `'all'`. */
export interface Seen {
  readonly cqrs: unknown;
  readonly tandem: unknown;
  readonly optIn?: unknown;
}

type Observe = (run: Running) => unknown;

export interface Suite {
  readonly side: Side;
  same(behaviour: string, expected: unknown, observe: Observe, options?: StartOptions): void;
  /** `difference` is its line in compatibility.md. */
  differs(difference: string, seen: Seen, observe: Observe, options?: StartOptions): void;
}

/** Every difference that the suite has marked. */
export const differences = new Set<string>();

/** On one application, but for behaviours with options, which start one of their own. */
export function suiteOn(side: Side): Suite {
  let shared: Running;
  beforeAll(async () => {
    shared = await start(side, { stored: true, extra: { providers: [...oddities, Endings] } });
  });
  afterAll(() => shared?.app.close());

  const test = (name: string, expected: unknown, observe: Observe, options?: StartOptions) =>
    it(name, async () => {
      const run = options ? await start(side, { ...options, extra: { ...options.extra, providers: [...oddities, ...(options.extra?.providers ?? [])] } }) : shared;
      try {
        expect(await observe(run)).toEqual(expected);
      } finally {
        if (options) await run.app.close();
      }
    });
  return {
    side,
    same: test,
    differs(difference, seen, observe, options) {
      differences.add(difference);
      const optIn = 'optIn' in seen ? seen.optIn : seen.tandem;
      test(`differs: ${difference}`, { cqrs: seen.cqrs, all: seen.tandem, 'opt-in': optIn }[side.kind], observe, options);
    },
  };
}

/** The lines of the journal that have this word, once there are as many. */
export async function lines(run: Running, word: string, count: number): Promise<string[]> {
  const found = () => run.journal.filter((line) => line.split(/[ ,]+/).includes(word));
  await vi.waitFor(() => expect(found().length).toBeGreaterThanOrEqual(count), { timeout: 20_000, interval: 5 });
  return found();
}
