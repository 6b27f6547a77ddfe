/** What the demo and its processes tell each other. */
export type ToEngine = { readonly kind: 'place'; readonly numbers: readonly number[] } | { readonly kind: 'wipe' } | { readonly kind: 'sums' };

export type FromEngine =
  | { readonly kind: 'ready' }
  | { readonly kind: 'acknowledged'; readonly number: number }
  | ({ readonly kind: 'state' } & DemoState)
  | { readonly kind: 'wiped'; readonly entries: number }
  | { readonly kind: 'sums'; readonly sums: Sums }
  /** The stack only where a developer has to look. */
  | { readonly kind: 'failed'; readonly reason: string; readonly stack?: string };

export interface DemoState {
  /** Rows of the read entity. */
  readonly read: number;
  readonly jobsDone: number;
  readonly jobsOpen: number;
  readonly lag: number;
  readonly stuck: readonly string[];
}

export interface Sum {
  readonly orders: number;
  readonly total: string;
}

/** Each computed from another table. */
export interface Sums {
  /** `OrderView`: a row for each order. */
  readonly views: Sum;
  /** `CountrySales`: added up event by event. */
  readonly sales: Sum;
  /** The events themselves. */
  readonly log: Sum;
}
