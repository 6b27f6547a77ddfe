import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: a machine may be busy. */
export const WAIT_MS = 60_000;
const LOOK_AGAIN_MS = 5;

/** 1, 2, … n. */
export const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

/** The fields that are expected are there; what else there is does not matter. */
export function hasFields<T extends object>(actual: T | undefined, expected: { readonly [K in keyof T]?: unknown }): void {
  assert.ok(actual, 'there is nothing to compare');
  const picked = Object.fromEntries(Object.keys(expected).map((key) => [key, actual[key as keyof T]]));
  assert.deepEqual(picked, expected);
}

/** What it threw; an assertion fails where it threw nothing. */
export async function rejection(act: () => unknown): Promise<unknown> {
  let error: unknown;
  const isThrown = await Promise.resolve()
    .then(act)
    .then(
      () => false,
      (reason: unknown) => {
        error = reason;
        return true;
      },
    );
  assert.ok(isThrown, 'it went well, where an error was expected');
  return error;
}

/** It throws a TandemError with this code. */
export async function refusesWith(code: string, act: () => unknown): Promise<void> {
  const error = await rejection(act);
  if ((error as { code?: unknown } | null)?.code === code) return;
  assert.fail(new assert.AssertionError({ message: `an error ${code} was expected, not ${String(error)}`, actual: error, expected: code }));
}

/** As `Promise.all`, but nothing of it still runs when it fails: the next case begins with an empty store. */
export async function together<T extends readonly unknown[]>(works: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(works);
  return (await Promise.all(works)) as unknown as T;
}

/** Looks again and again until it holds. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + WAIT_MS; ; await sleep(LOOK_AGAIN_MS)) {
    if (await holds()) return;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
  }
}

/** Something that others wait for. */
export class Signal {
  give!: () => void;
  readonly given = new Promise<void>((resolve) => (this.give = resolve));
}
