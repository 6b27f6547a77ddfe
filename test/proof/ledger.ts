/**
 * What the writers of a proof were told: the truth that logs and consumers are compared with. It counts its own ticks, so that
 * "answered before the other one began" needs no clock.
 */

/** What one event says. */
export interface Fact {
  readonly id: string;
  /** Its stream. */
  readonly thing: string;
  /** Of a fact that was answered before this one's transaction began. */
  readonly cause: string | null;
  readonly amount: number;
  /** Of a type of its own, which a saga and an immediate projection follow too. */
  readonly marked: boolean;
}

export interface Transaction {
  readonly number: number;
  readonly facts: readonly Fact[];
  /** Between append and COMMIT. */
  readonly pauseMs: number;
  readonly rollback?: 'before append' | 'after append';
}

/** A fact whose writer was told that it is committed. */
export interface Committed {
  readonly fact: Fact;
  readonly transaction: number;
  /** In its transaction. */
  readonly index: number;
  readonly begun: number;
  readonly answered: number;
}

/** What a planned rollback is thrown with; databases pass the text on. */
export const PLANNED_ROLLBACK = 'planned rollback';

const RECENT = 64;

export class Ledger {
  readonly committed = new Map<string, Committed>();
  /** Other errors than the planned ones, each a transaction that was rolled back. */
  readonly refused = new Map<string, number>();
  /** Writers that were told the opposite of what they had asked for. */
  readonly contradictions: string[] = [];
  readonly counts = { transactions: 0, paused: 0, rolledBack: 0 };
  private readonly recent: string[] = [];
  private ticks = 0;

  /** Facts that a new transaction may name as its cause: the last that were answered. */
  get causes(): readonly string[] {
    return this.recent;
  }

  async record(transaction: Transaction, write: (transaction: Transaction) => Promise<void>): Promise<void> {
    const begun = ++this.ticks;
    this.counts.transactions++;
    if (transaction.pauseMs > 0) this.counts.paused++;
    try {
      await write(transaction);
    } catch (error) {
      return this.rolledBack(transaction, error);
    }
    if (transaction.rollback) this.contradictions.push(`transaction ${transaction.number} was to roll back and was answered`);
    this.commit(transaction, begun);
  }

  private commit({ facts, number }: Transaction, begun: number): void {
    const answered = ++this.ticks;
    facts.forEach((fact, index) => this.committed.set(fact.id, { fact, transaction: number, index, begun, answered }));
    this.recent.push(facts.at(-1)!.id);
    if (this.recent.length > RECENT) this.recent.shift();
  }

  private rolledBack({ rollback }: Transaction, error: unknown): void {
    this.counts.rolledBack++;
    const text = String(error);
    if (rollback && text.includes(PLANNED_ROLLBACK)) return;
    const reason = text.slice(0, 200).replaceAll(/\d+/g, 'n');
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}
