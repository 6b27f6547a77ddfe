/** Compares what a consumer saw with what the writers were told. Knows nothing of how either was done. */
import type { Committed, Ledger } from './ledger.js';
import type { Seen } from './subject.js';

export interface Violations {
  readonly skipped: string[];
  readonly repeated: string[];
  /** Of transactions that were rolled back. */
  readonly neverCommitted: string[];
  /** Within a stream. */
  readonly outOfOrder: string[];
  readonly effectBeforeCause: string[];
}

export const NO_VIOLATIONS: Violations = { skipped: [], repeated: [], neverCommitted: [], outOfOrder: [], effectBeforeCause: [] };

export function violationsOf({ ids, keeps }: Seen, { committed }: Ledger): Violations {
  const known = ids.flatMap((id) => committed.get(id) ?? []);
  const once = new Set(ids);
  const repeats = new Set<string>();
  return {
    skipped: [...committed.keys()].filter((id) => !once.has(id)),
    repeated: ids.filter((id) => repeats.has(id) || !repeats.add(id)),
    neverCommitted: ids.filter((id) => !committed.has(id)),
    outOfOrder: streamsOutOfOrder(known),
    effectBeforeCause: keeps === 'causes' ? [...beforeTheirCause(known), ...tooLate(known)] : [],
  };
}

/** In each stream: facts of one transaction in its order, and what was answered before another began comes before it. */
export function streamsOutOfOrder(seen: readonly Committed[]): string[] {
  const streams = new Map<string, Committed[]>();
  for (const entry of seen) {
    const stream = streams.get(entry.fact.thing);
    if (stream) stream.push(entry);
    else streams.set(entry.fact.thing, [entry]);
  }
  return [...streams.values()].flatMap((stream) => [...shuffled(stream), ...tooLate(stream)]);
}

function shuffled(stream: readonly Committed[]): string[] {
  const last = new Map<number, number>();
  return stream
    .filter(({ index, transaction }) => {
      const before = last.get(transaction) ?? -1;
      last.set(transaction, index);
      return index < before;
    })
    .map(({ fact }) => fact.id);
}

/** What stands behind something that began only after this was answered. */
function tooLate(order: readonly Committed[]): string[] {
  let latest = 0;
  return order
    .filter(({ answered, begun }) => {
      latest = Math.max(latest, begun);
      return answered < latest;
    })
    .map(({ fact }) => fact.id);
}

function beforeTheirCause(order: readonly Committed[]): string[] {
  const seen = new Set<string>();
  return order
    .filter(({ fact }) => {
      seen.add(fact.id);
      return fact.cause !== null && !seen.has(fact.cause);
    })
    .map(({ fact }) => fact.id);
}
