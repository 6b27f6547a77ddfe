import { setTimeout as sleep } from 'node:timers/promises';
import { isTandemError } from 'nest-tandem';
import { PlaceOrder, type Written } from '../orders/write/place-order.js';
import { RecordReturn } from '../orders/write/record-return.js';
import { isShopError } from '../shop-error.js';
import type { InvoiceDecision, InvoiceLine, RejectReason } from './invoice-line.js';
import { decideInvoice } from './invoice-line.js';

export interface InvoiceSummary {
  /** Orders and returns that this run wrote. */
  placed: number;
  returned: number;
  /** Lines whose invoice was there with the same content: earlier in the file, or from an earlier run. */
  already_imported: number;
  rejected: Partial<Record<RejectReason, number>>;
}

export interface InvoiceImportOptions {
  /** Sends a command: `(command) => commandBus.execute(command)`. */
  readonly execute: (command: PlaceOrder | RecordReturn) => Promise<Written>;
  /** Commands on their way at once, at most. Default 16. */
  readonly concurrency?: number;
  /** Called when a line has got its count. */
  readonly onProgress?: (lines: number, summary: Readonly<InvoiceSummary>) => void;
  readonly onReject?: (line: number, reason: RejectReason) => void;
  /** Ends the import after the commands on their way: `run` then throws its reason. The next run goes on by itself. */
  readonly signal?: AbortSignal;
  /** How long a command is repeated while the database is away, in milliseconds. Default 60,000. */
  readonly patienceMs?: number;
}

type Outcome = 'placed' | 'returned' | 'already_imported' | { readonly rejected: RejectReason };
type Accepted = Exclude<InvoiceDecision, { kind: 'rejected' }>;

const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Sends the lines of an invoice file through the command bus. Lines are judged in the order of the file; commands run beside
 * each other. It may be stopped anywhere and started again: what is there already is recognized by number and content.
 */
export class InvoiceImport {
  /** Invoice number → content of the first line that was accepted under it. */
  private readonly seen = new Map<string, string>();
  private readonly summary: InvoiceSummary = { placed: 0, returned: 0, already_imported: 0, rejected: {} };
  private lines = 0;

  constructor(private readonly options: InvoiceImportOptions) {}

  /** For one file; a second file needs an import of its own. @throws the first error that was no verdict on a line, after the commands on their way have ended */
  async run(rows: AsyncIterable<InvoiceLine>): Promise<InvoiceSummary> {
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    try {
      for await (const row of rows) {
        while (running.size >= (this.options.concurrency ?? 16)) await Promise.race(running);
        if (failures.length > 0 || this.options.signal?.aborted) break;
        const verdict = this.judge(decideInvoice(row.cells));
        if (typeof verdict === 'string' || 'rejected' in verdict) {
          this.settle(row.line, verdict);
          continue;
        }
        const sending = this.send(verdict)
          .then((outcome) => this.settle(row.line, outcome))
          .catch((error: unknown) => void failures.push(error))
          .finally(() => running.delete(sending));
        running.add(sending);
      }
    } finally {
      await Promise.all(running);
    }
    if (failures.length > 0) throw failures[0];
    this.options.signal?.throwIfAborted();
    return this.summary;
  }

  /** Compares with the lines before: needs no database, and holds for lines whose command is still on its way. */
  private judge(decision: InvoiceDecision): Outcome | Accepted {
    if (decision.kind === 'rejected') return { rejected: decision.reason };
    const earlier = this.seen.get(decision.document.id);
    if (earlier === undefined) {
      this.seen.set(decision.document.id, decision.contentHash);
      return decision;
    }
    return earlier === decision.contentHash ? 'already_imported' : { rejected: 'duplicate_invoice' };
  }

  private async send({ kind, document }: Accepted): Promise<Outcome> {
    try {
      const { created } = await this.patiently(kind === 'place' ? new PlaceOrder(document) : new RecordReturn(document));
      if (!created) return 'already_imported';
      return kind === 'place' ? 'placed' : 'returned';
    } catch (error) {
      if (isShopError(error, 'SHOP_ORDER_CONFLICT') || isShopError(error, 'SHOP_RETURN_CONFLICT')) return { rejected: 'duplicate_invoice' };
      throw error;
    }
  }

  /** The commands recognize a repeat, so one whose outcome is unknown may simply be sent again. */
  private async patiently(command: PlaceOrder | RecordReturn): Promise<Written> {
    const until = Date.now() + (this.options.patienceMs ?? 60_000);
    let mayBeOurs = false;
    for (let pause = PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        const written = await this.options.execute(command);
        return mayBeOurs ? { ...written, created: true } : written;
      } catch (error) {
        if (!mayPass(error) || Date.now() + pause > until || this.options.signal?.aborted) throw error;
        mayBeOurs ||= isTandemError(error, 'TANDEM_COMMIT_UNKNOWN');
        await sleep(pause);
      }
    }
  }

  private settle(line: number, outcome: Outcome): void {
    if (typeof outcome === 'string') this.summary[outcome] += 1;
    else {
      this.summary.rejected[outcome.rejected] = (this.summary.rejected[outcome.rejected] ?? 0) + 1;
      this.options.onReject?.(line, outcome.rejected);
    }
    this.lines += 1;
    this.options.onProgress?.(this.lines, this.summary);
  }
}

const PASSING = [
  'TANDEM_STORAGE_UNAVAILABLE',
  'TANDEM_COMMIT_UNKNOWN',
  'TANDEM_COMMIT_FAILED',
  'TANDEM_ACQUIRE_TIMEOUT',
  'TANDEM_CONTENTION',
  'TANDEM_CONCURRENCY_CONFLICT',
] as const;

/** The database was away or busy. */
const mayPass = (error: unknown): boolean => PASSING.some((code) => isTandemError(error, code));
