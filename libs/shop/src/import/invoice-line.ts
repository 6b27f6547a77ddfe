/**
 * The rules for a line of an invoice file. Columns: InvoiceNo, InvoiceDate, CustomerID, Country, Quantity, UnitPrice. Six digits
 * are an order, `C` and six digits a return, with one line of sku `INVOICE`. Every line ends in one decision.
 */
import type { GivenDocument } from '../orders/sales-document.js';
import { salesDocument } from '../orders/sales-document.js';
import { InvalidValueError } from '../shop-error.js';
import { isCalendarDay } from '../values/instant.js';

export const INVOICE_COLUMNS = ['InvoiceNo', 'InvoiceDate', 'CustomerID', 'Country', 'Quantity', 'UnitPrice'] as const;
export const INVOICE_SKU = 'INVOICE';
export const REJECT_REASONS = ['not_an_invoice', 'non_positive_quantity', 'malformed', 'duplicate_invoice'] as const;

export type RejectReason = (typeof REJECT_REASONS)[number];

export interface InvoiceLine {
  /** Number in the file; the header is line 1. */
  readonly line: number;
  /** Of a line with broken quotes, its first cell only. */
  readonly cells: readonly string[];
}

export type InvoiceDecision =
  { readonly kind: 'rejected'; readonly reason: RejectReason } | { readonly kind: 'place' | 'return'; readonly document: GivenDocument; readonly contentHash: string };

const ORDER_NUMBER = /^\d{6}$/;
const RETURN_NUMBER = /^C\d{6}$/;
const NON_POSITIVE = /^(-\d+(\.\d+)?|0+(\.0+)?)$/;
const WHOLE_NUMBER = /^-?\d{1,9}$/;
const INVOICE_DATE = /^(\d{1,2})\/(\d{1,2})\/(\d{4}) (\d{1,2}):(\d{2})$/;
const NO_CUSTOMER = '(blank)';

/** What one line asks for, without regard to other lines. */
export function decideInvoice([number = '', ...fields]: InvoiceLine['cells']): InvoiceDecision {
  const kind = ORDER_NUMBER.test(number) ? 'place' : RETURN_NUMBER.test(number) ? 'return' : undefined;
  if (!kind) return rejected('not_an_invoice');
  const [date = '', customer = '', country = '', quantityText = '', unitPrice = ''] = fields;
  // Asked first, whatever else is wrong with the line: a quantity below one piece, however it is written.
  if (kind === 'place' && NON_POSITIVE.test(quantityText)) return rejected('non_positive_quantity');
  if (fields.length !== INVOICE_COLUMNS.length - 1) return rejected('malformed');
  const quantity = WHOLE_NUMBER.test(quantityText) ? Number(quantityText) : Number.NaN;
  if (kind === 'return' && !(quantity < 0)) return rejected('malformed');
  return readDocument(kind, {
    id: number,
    customerId: customer === NO_CUSTOMER ? null : customer,
    country,
    at: invoiceInstant(date),
    lines: [{ sku: INVOICE_SKU, quantity: Math.abs(quantity), unitPrice }],
  });
}

function readDocument(kind: 'place' | 'return', document: GivenDocument): InvoiceDecision {
  try {
    return { kind, document, contentHash: salesDocument(document).contentHash };
  } catch (error) {
    if (error instanceof InvalidValueError) return rejected('malformed');
    throw error;
  }
}

/** `12/1/2010 8:26` (month first) as UTC. What is no date comes out as an empty text, which is no instant either. */
function invoiceInstant(text: string): string {
  const [month, day, year, hour, minute] = (INVOICE_DATE.exec(text)?.slice(1) ?? []).map(Number);
  if (month === undefined || day === undefined || year === undefined || hour === undefined || minute === undefined) return '';
  if (!isCalendarDay(year, month, day) || hour > 23 || minute > 59) return '';
  return new Date(Date.UTC(year, month - 1, day, hour, minute)).toISOString();
}

const rejected = (reason: RejectReason): InvoiceDecision => ({ kind: 'rejected', reason });
