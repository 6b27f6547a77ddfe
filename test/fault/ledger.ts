/** What the load was told, in the memory of the rig, which nothing happens to. */
import type { Asked } from './asked.js';

/**
 * *Acknowledged*: the API said that it is done. *Refused*: it said that nothing has happened. *Unknown*: the answer was lost, or
 * the API itself does not know; then all of it may be there, or nothing.
 */
export type Told = 'acknowledged' | 'refused' | 'unknown';

export interface Entry {
  readonly asked: Asked;
  told: Told;
  /** Error code of the first answer that was no acknowledgement. */
  reason?: string;
}

export class Ledger {
  readonly entries = new Map<string, Entry>();
  readonly counts: Record<Told, number> = { acknowledged: 0, refused: 0, unknown: 0 };
  readonly reasons = new Map<string, number>();
  acknowledgedEvents = 0;
  /** Acknowledged when they were sent again with the same id. */
  repeated = 0;

  /** Before it is sent: until there is an answer nobody knows. */
  ask(asked: Asked): Entry {
    const entry: Entry = { asked, told: 'unknown' };
    this.entries.set(asked.id, entry);
    return entry;
  }

  /** Answers of APIs without a code of the library's, but for what the rig itself has thrown. A connection's error has no message here. */
  get untyped(): string[] {
    return [...this.reasons.keys()].filter((reason) => reason.includes(': ') && !reason.includes('thrown at'));
  }

  settle(entry: Entry, told: Told, reason?: string): void {
    entry.told = told;
    entry.reason = reason;
    this.counts[told]++;
    if (reason !== undefined) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }
}
