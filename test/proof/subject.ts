import type { Transaction } from './ledger.js';

/** What one consumer saw. */
export interface Seen {
  /** What its order has to keep: that of each stream, or also cause before effect over all of them. */
  readonly keeps: 'streams' | 'causes';
  /** Ids of facts, in the order in which they were seen. */
  readonly ids: readonly string[];
}

/** What a proof is run on: writes transactions, and has consumers that follow them all the while. */
export interface Subject {
  /** Commits what the transaction says, after its pause, or rolls back. @throws what the writer is told when nothing was written */
  write(transaction: Transaction): Promise<void>;
  /** Resolves when the consumers have read what was committed. */
  settled(): Promise<void>;
  /** Of each consumer that has to miss nothing. */
  seen(): Promise<readonly Seen[]>;
}
