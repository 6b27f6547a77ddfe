import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TandemError } from 'nest-tandem';
import { describe, expect, it } from 'vitest';
import type { GivenDocument } from '../orders/sales-document.js';
import { salesDocument } from '../orders/sales-document.js';
import { PlaceOrder, type Written } from '../orders/write/place-order.js';
import type { RecordReturn } from '../orders/write/record-return.js';
import { ShopError } from '../shop-error.js';
import { readInvoiceLines } from './invoice-file.js';
import { InvoiceImport, type InvoiceImportOptions } from './invoice-import.js';
import type { InvoiceLine } from './invoice-line.js';

const FIXTURE = fileURLToPath(new URL('./fixtures/invoices.csv', import.meta.url));
const FIXTURE_LINES = 43;
const fixture = (): AsyncGenerator<InvoiceLine> => readInvoiceLines(createReadStream(FIXTURE));

/** Answers as the handlers do, from a map. */
class ShopInMemory {
  readonly documents = new Map<string, GivenDocument>();
  mostAtOnce = 0;
  private running = 0;

  readonly execute = async (command: PlaceOrder | RecordReturn): Promise<Written> => {
    this.running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running);
    await new Promise((resolve) => setImmediate(resolve));
    this.running -= 1;
    const [document, conflict] = command instanceof PlaceOrder ? [command.order, 'SHOP_ORDER_CONFLICT' as const] : [command.document, 'SHOP_RETURN_CONFLICT' as const];
    const present = this.documents.get(document.id);
    if (present && salesDocument(present).contentHash !== salesDocument(document).contentHash) throw new ShopError(conflict, 'other content');
    this.documents.set(document.id, document);
    return { id: document.id, created: !present };
  };
}

const run = (options: InvoiceImportOptions, rows = fixture()) => new InvoiceImport(options).run(rows);
async function* lines(...all: string[]): AsyncGenerator<InvoiceLine> {
  for (const [index, text] of all.entries()) yield { line: index + 2, cells: text.split(',') };
}
const order = (number: string, quantity = '1'): string => `${number},12/1/2010 8:26,17850,France,${quantity},1`;

describe('InvoiceImport', () => {
  it('ends every line of a file in exactly one count', async () => {
    const counts: number[] = [];
    const summary = await run({ execute: new ShopInMemory().execute, onProgress: (done) => counts.push(done) });
    expect(summary).toEqual({ placed: 6, returned: 2, already_imported: 3, rejected: { not_an_invoice: 7, non_positive_quantity: 3, duplicate_invoice: 3, malformed: 19 } });
    expect(counts).toEqual(Array.from({ length: FIXTURE_LINES }, (_, index) => index + 1));
  });

  it('names the line and the reason of every reject', async () => {
    const rejects: [number, string][] = [];
    await run({ execute: new ShopInMemory().execute, onReject: (line, reason) => rejects.push([line, reason]) });
    expect(rejects).toHaveLength(32);
    expect(rejects.slice(0, 5)).toEqual([
      [10, 'duplicate_invoice'],
      [11, 'duplicate_invoice'],
      [13, 'duplicate_invoice'],
      [14, 'not_an_invoice'],
      [15, 'not_an_invoice'],
    ]);
  });

  it('comes to the same end when it was stopped half-way and is started again', async () => {
    const [whole, broken] = [new ShopInMemory(), new ShopInMemory()];
    await run({ execute: whole.execute });
    const stop = new AbortController();
    const halfWay = run({ execute: broken.execute, concurrency: 2, signal: stop.signal, onProgress: (done) => done === 3 && stop.abort(new Error('stopped')) });
    await expect(halfWay).rejects.toThrow('stopped');
    expect(broken.documents.size).toBeGreaterThan(0);
    expect(broken.documents.size).toBeLessThan(whole.documents.size);
    const before = broken.documents.size;
    const summary = await run({ execute: broken.execute });
    expect(broken.documents).toEqual(whole.documents);
    expect(summary.placed + summary.returned).toBe(whole.documents.size - before);
    expect(await run({ execute: broken.execute })).toMatchObject({ placed: 0, returned: 0, already_imported: 11 });
  });

  it('keeps as many commands on their way as it may, and no more', async () => {
    const shop = new ShopInMemory();
    await run({ execute: shop.execute, concurrency: 3 }, lines(...Array.from({ length: 20 }, (_, index) => order(String(600_100 + index)))));
    expect(shop.documents.size).toBe(20);
    expect(shop.mostAtOnce).toBe(3);
  });

  it('lets the first of two lines with one number win, though both could be on their way', async () => {
    const shop = new ShopInMemory();
    const summary = await run({ execute: shop.execute }, lines(order('600001', '1'), order('600001', '2'), order('600001', '1')));
    expect(summary).toEqual({ placed: 1, returned: 0, already_imported: 1, rejected: { duplicate_invoice: 1 } });
    expect(shop.documents.get('600001')?.lines[0]?.quantity).toBe(1);
  });

  it('calls a number duplicate that the shop knows with other content', async () => {
    const shop = new ShopInMemory();
    await run({ execute: shop.execute }, lines(order('600001', '1')));
    expect(await run({ execute: shop.execute }, lines(order('600001', '2')))).toMatchObject({ placed: 0, rejected: { duplicate_invoice: 1 } });
  });

  it('waits for a database that is away, and counts as placed what an unknown COMMIT had written', async () => {
    const shop = new ShopInMemory();
    const failures = [new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'away'), new TandemError('TANDEM_COMMIT_UNKNOWN', 'lost')];
    const execute: InvoiceImportOptions['execute'] = async (command) => {
      const failure = failures.shift();
      if (failure?.code === 'TANDEM_COMMIT_UNKNOWN') await shop.execute(command);
      if (failure) throw failure;
      return shop.execute(command);
    };
    expect(await run({ execute }, lines(order('600001')))).toMatchObject({ placed: 1, already_imported: 0 });
    expect(failures).toEqual([]);
  });

  it('gives up on an error that is no verdict on a line, after the commands on their way', async () => {
    const shop = new ShopInMemory();
    const execute: InvoiceImportOptions['execute'] = (command) =>
      command instanceof PlaceOrder && command.order.id === '600002' ? Promise.reject(new Error('broken')) : shop.execute(command);
    await expect(run({ execute, concurrency: 2 }, lines(...['600001', '600002', '600003', '600004', '600005', '600006'].map((number) => order(number))))).rejects.toThrow('broken');
    expect(shop.documents.has('600001')).toBe(true);
    expect(shop.documents.has('600006')).toBe(false);
  });
});
