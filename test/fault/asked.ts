/** What the load asks of the application. Every command has an id of its own, which its events carry. */

export type Poison = 'none' | 'event' | 'job';

export interface AskedMove {
  readonly account: string;
  readonly amount: number;
}

interface Common {
  readonly id: string;
  /** Sent with its id, and so again when the outcome is not known. */
  readonly repeatable: boolean;
}

export interface AskedMoves extends Common {
  readonly kind: 'move';
  readonly moves: readonly AskedMove[];
  /** Also queues a job in the same unit of work. */
  readonly job: boolean;
}

export interface AskedOrder extends Common {
  readonly kind: 'place';
  readonly order: string;
  readonly poison: Poison;
}

export interface AskedChange extends Common {
  readonly kind: 'change';
  readonly order: string;
  readonly poison: Poison;
}

export type Asked = AskedMoves | AskedOrder | AskedChange;

/** How many events it makes. */
export const eventsOf = (asked: Asked): number => (asked.kind === 'move' ? asked.moves.length : 1);

/** An API's answer. `code` is of Tandem, where the error has one. */
export type Answer = { readonly ok: true } | { readonly ok: false; readonly code: string; readonly message: string };
