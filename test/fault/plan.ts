/** Which faults happen, in which order: the same for the same seed. */
import type { Dice } from '../support/dice.js';
import { type Act, ACTS, FAILPOINTS, type Failpoint, type Role } from './failpoints.js';
import type { CommitCut } from './fault-proxy.js';

export type Server = 'database' | 'redis';

export type Fault =
  | { readonly kind: 'failpoint'; readonly point: Failpoint; readonly act: Act }
  | { readonly kind: 'process'; readonly act: 'kill' | 'stop'; readonly role: Role }
  | { readonly kind: 'network'; readonly act: 'delay' | 'reset' | 'half-open'; readonly server: Server; readonly role: Role }
  | { readonly kind: 'commit-cut'; readonly when: CommitCut; readonly role: Role }
  | { readonly kind: 'server'; readonly act: 'kill' | 'stop' | 'flush'; readonly server: Server };

/** One of each, so that even a short run has them. */
const SURROUNDINGS: readonly Fault[] = [
  ...(['api', 'worker'] as const).flatMap((role): Fault[] => [
    { kind: 'process', act: 'kill', role },
    { kind: 'process', act: 'stop', role },
    { kind: 'commit-cut', when: 'before', role },
    { kind: 'commit-cut', when: 'after', role },
    ...(['delay', 'reset', 'half-open'] as const).flatMap((act): Fault[] => [
      { kind: 'network', act, server: 'database', role },
      { kind: 'network', act, server: 'redis', role },
    ]),
  ]),
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'kill', server: 'redis' },
  { kind: 'server', act: 'stop', server: 'redis' },
  { kind: 'server', act: 'kill', server: 'database' },
  { kind: 'server', act: 'kill', server: 'database' },
  { kind: 'server', act: 'kill', server: 'database' },
  { kind: 'server', act: 'stop', server: 'database' },
];
const OPENING: readonly Fault[] = [
  { kind: 'process', act: 'kill', role: 'worker' },
  { kind: 'server', act: 'flush', server: 'redis' },
  { kind: 'server', act: 'kill', server: 'database' },
];
const AT_FAILPOINTS: readonly Fault[] = FAILPOINTS.flatMap((point) => ACTS.map((act): Fault => ({ kind: 'failpoint', point, act })));

export const nameOf = (fault: Fault): string => {
  switch (fault.kind) {
    case 'failpoint':
      return `${fault.act} at ${fault.point.name}`;
    case 'process':
      return `${fault.act} of ${fault.role}`;
    case 'network':
      return `${fault.act} between ${fault.role} and ${fault.server}`;
    case 'commit-cut':
      return `cut ${fault.when} COMMIT of ${fault.role}`;
    case 'server':
      return `${fault.act} of ${fault.server}`;
  }
};

/** Without an end: every fault there is in a random order, again and again. `only` keeps those with one of these texts in their name. */
export function* planOf(dice: Dice, only: readonly string[] = []): Generator<Fault> {
  const kept = (faults: readonly Fault[]) => faults.filter((fault) => only.length === 0 || only.some((text) => nameOf(fault).includes(text)));
  const deck = kept([...SURROUNDINGS, ...AT_FAILPOINTS]);
  if (deck.length === 0) throw new Error(`No fault has one of these in its name: ${only.join(', ')}`);
  yield* shuffled(kept(OPENING), dice);
  for (;;) yield* shuffled(deck, dice);
}

export function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(dice.below(rest.length), 1)[0]!);
}
