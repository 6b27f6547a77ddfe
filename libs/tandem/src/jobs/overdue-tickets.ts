import type { JobTicket } from './job-store.js';

/** Looks in a row after which a ticket counts as lost where it waits; twice as many before the next one, and so on. */
const PATIENT_LOOKS = 30;

/**
 * Where the queue lost a part of its memory, it may know a ticket and never deliver it, and leave alone whatever is added under
 * the same id. A job that the reconciler finds due again and again gets another ticket beside the first: only one of them can
 * claim the run. A queue that is long, not lossy, carries a few tickets more.
 */
export class OverdueTickets {
  /** Of the last look: in how many looks in a row the ticket was due. */
  private looks = new Map<string, number>();

  /** What one look found due, each ticket with how many others were added for its run. */
  counted<T extends JobTicket>(due: readonly T[]): readonly (T & { readonly again: number })[] {
    const before = this.looks;
    this.looks = new Map();
    return due.map((ticket) => {
      const key = `${ticket.id}-${ticket.epoch}`;
      const looks = (before.get(key) ?? 0) + 1;
      this.looks.set(key, looks);
      return { ...ticket, again: looks < PATIENT_LOOKS ? 0 : 1 + Math.floor(Math.log2(looks / PATIENT_LOOKS)) };
    });
  }
}
