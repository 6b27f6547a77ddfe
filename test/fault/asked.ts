/** What the load asks of the application. Every command has an id of its own, which its events carry. */

export type Poison = 'none' | 'event' | 'job';

export interface AskedMove {
  readonly account: string;
  readonly amount: number;
}

export interface AskedMoves {
  readonly kind: 'move';
  readonly id: string;
  readonly moves: readonly AskedMove[];
  /** Also queues a job in the same unit of work. */
  readonly job: boolean;
}

export interface AskedOrder {
  readonly kind: 'place';
  readonly id: string;
  readonly order: string;
  readonly poison: Poison;
}

export interface AskedChange {
  readonly kind: 'change';
  readonly id: string;
  readonly order: string;
  readonly poison: Poison;
}

export type Asked = AskedMoves | AskedOrder | AskedChange;

/** How many events it makes. */
export const eventsOf = (asked: Asked): number => (asked.kind === 'move' ? asked.moves.length : 1);

/** An API's answer. `code` is of Tandem, where the error has one. */
export type Answer = { readonly ok: true } | { readonly ok: false; readonly code: string; readonly message: string };
