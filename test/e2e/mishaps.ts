import { setTimeout as sleep } from 'node:timers/promises';
import type { Dice } from '../support/dice.js';
import type { ShopFleet } from './shop-fleet.js';

type Name = keyof ShopFleet['places'];

const NAMES = ['API', 'worker 1', 'worker 2'] as const satisfies readonly Name[];
/** Between two of them, at most. */
const QUIET_MS = 3_000;
const PAUSE_MS = { least: 1_000, most: 6_000 };

interface Mishap {
  readonly what: string;
  happen(fleet: ShopFleet, dice: Dice): Promise<unknown>;
}

const pauseOf = (dice: Dice): number => PAUSE_MS.least + dice.below(PAUSE_MS.most - PAUSE_MS.least);
const MISHAPS: readonly Mishap[] = [
  ...NAMES.map((name): Mishap => ({ what: `kill -9 of the ${name}`, happen: ({ places }) => places[name].kill() })),
  ...NAMES.map((name): Mishap => ({ what: `SIGSTOP of the ${name}`, happen: ({ places }, dice) => places[name].pause(pauseOf(dice)) })),
  { what: 'FLUSHALL', happen: (fleet) => fleet.wipeRedis() },
];

/** Each mishap once in a random order, and then any of them, until `stop` says so. Returns how often each has happened. */
export async function mishaps(fleet: ShopFleet, dice: Dice, stop: () => boolean): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const first = shuffled(MISHAPS, dice);
  while (first.length > 0 || !stop()) {
    await sleep(dice.below(QUIET_MS));
    const { happen, what } = first.pop() ?? dice.pick(MISHAPS);
    await happen(fleet, dice);
    counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}

function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(dice.below(rest.length), 1)[0]!);
}
