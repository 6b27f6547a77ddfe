/** A client that brings invoices over HTTP and does not give up: one whose answer was lost is sent again, as it was. */
import { setTimeout as sleep } from 'node:timers/promises';
import { inLanes } from '../support/in-lanes.js';
import type { InvoiceDocument } from './invoice-accounts.js';

const LANES = 16;
const ANSWER_WITHIN_MS = 8_000;
const AGAIN_AFTER_MS = 200;
const PATIENCE_MS = 180_000;

export interface Posting {
  readonly onAcknowledged?: (count: number) => void;
}

/** Resolves when every invoice was acknowledged. Returns how often one was sent again. @throws for an invoice that is refused, or not acknowledged in time */
export async function postInvoices(origin: string, documents: readonly InvoiceDocument[], { onAcknowledged }: Posting = {}): Promise<number> {
  let acknowledged = 0;
  let again = 0;
  await inLanes(documents, LANES, async (document) => {
    again += await postOne(origin, document);
    onAcknowledged?.(++acknowledged);
  });
  return again;
}

async function postOne(origin: string, { id, at, customerId, country, kind, quantity, unitPrice }: InvoiceDocument): Promise<number> {
  const lines = [{ sku: 'INVOICE', quantity, unitPrice }];
  const [path, body] =
    kind === 'order' ? ['orders', { orderId: id, placedAt: at, customerId, country, lines }] : ['returns', { returnId: id, recordedAt: at, customerId, country, lines }];
  const deadline = Date.now() + PATIENCE_MS;
  for (let again = 0; ; again++) {
    const answer = await answerTo(`${origin}/${path as string}`, JSON.stringify(body));
    if (answer === 201) return again;
    if (answer === 400 || Date.now() > deadline) throw new Error(`${kind} ${id} was not acknowledged: ${answer}`);
    await sleep(AGAIN_AFTER_MS);
  }
}

/** The status, or why there was none. */
async function answerTo(url: string, body: string): Promise<number | string> {
  try {
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    await answer.text();
    return answer.status;
  } catch (error) {
    return String(error);
  }
}
