import { Dice } from '../support/dice.js';
import { type Fact, Ledger, type Transaction } from './ledger.js';
import type { Subject } from './subject.js';

export interface Traffic {
  readonly seed: number;
  /** Default 32. */
  readonly writers?: number;
  /** The longest pause between append and COMMIT. Default 2,000. */
  readonly pauseMs?: number;
  /** Transactions in a hundred that pause, and those that roll back. Default 5. */
  readonly paused?: number;
  readonly rolledBack?: number;
  /** In one transaction at most. Default 39. */
  readonly facts?: number;
  /** Default 300. */
  readonly things?: number;
  readonly progress?: (committed: number) => void;
}

const TELL_EVERY = 10_000;
/** A few go beyond what the library appends as one block. */
const LONG = 80;

/** Random transactions, written by many at once. */
export class Writers {
  readonly ledger = new Ledger();
  private readonly dice: Dice;
  private readonly traffic: Required<Traffic>;
  private numbers = 0;
  private told = 0;

  constructor(
    private readonly subject: Subject,
    traffic: Traffic,
  ) {
    this.traffic = { writers: 32, pauseMs: 2_000, paused: 5, rolledBack: 5, facts: 39, things: 300, progress: () => undefined, ...traffic };
    this.dice = new Dice(traffic.seed);
  }

  /** Writes until so many events are committed in all. */
  async until(events: number): Promise<void> {
    const writer = async () => {
      while (this.ledger.committed.size < events) {
        await this.ledger.record(this.transaction(), (transaction) => this.subject.write(transaction));
        this.tell();
      }
    };
    await Promise.all(Array.from({ length: this.traffic.writers }, writer));
  }

  private transaction(): Transaction {
    const { dice, traffic } = this;
    const number = ++this.numbers;
    const things = Array.from({ length: dice.pick([1, 1, 1, 2, 3]) }, () => `t${dice.below(traffic.things)}`);
    const count = dice.percent(1) && traffic.facts > 1 ? LONG : 1 + dice.below(traffic.facts);
    return {
      number,
      facts: Array.from({ length: count }, (_, index): Fact => this.fact(`${number}.${index}`, dice.pick(things))),
      pauseMs: dice.percent(traffic.paused) ? 1 + dice.below(traffic.pauseMs) : 0,
      rollback: dice.percent(traffic.rolledBack) ? dice.pick(['before append', 'after append'] as const) : undefined,
    };
  }

  private fact(id: string, thing: string): Fact {
    const { causes } = this.ledger;
    return { id, thing, cause: causes.length > 0 ? this.dice.pick(causes) : null, amount: 1 + this.dice.below(1_000), marked: this.dice.percent(1) };
  }

  private tell(): void {
    const { size } = this.ledger.committed;
    if (size < this.told + TELL_EVERY) return;
    this.told = size - (size % TELL_EVERY);
    this.traffic.progress(size);
  }
}
