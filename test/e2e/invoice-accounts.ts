/** What an invoice file says, worked out from its text alone: nothing here asks the shop or uses its code. */
import type { Sums } from './invoices.js';
import { fourPlaces, tenThousandths } from './ten-thousandths.js';

export interface InvoiceDocument {
  readonly kind: 'order' | 'return';
  readonly id: string;
  readonly at: string;
  readonly customerId: string | null;
  readonly country: string;
  readonly quantity: number;
  readonly unitPrice: string;
}

export interface Accounts {
  readonly byCountry: Readonly<Record<string, Sums>>;
  readonly byCustomer: Readonly<Record<string, Sums>>;
}

/** What is added up: a total in ten-thousandths, of an order or of a return. */
export interface Entry {
  readonly kind: InvoiceDocument['kind'];
  readonly country: string;
  readonly customerId: string | null;
  readonly total: bigint;
}

const QUOTED_COUNTRY = /^([^,"]*),([^,"]*),([^,"]*),"([^"]*)",([^,"]*),([^,"]*)$/;
const DATE = /^(\d{1,2})\/(\d{1,2})\/(\d{4}) (\d{1,2}):(\d{2})$/;
const MOST_PIECES = 1_000_000;

/** In the order of the file. Of a number that comes twice the first counts; lines that break a rule are left out. */
export function documentsOf(text: string): InvoiceDocument[] {
  const documents = new Map<string, InvoiceDocument>();
  for (const line of text.split(/\r?\n/).slice(1)) {
    const document = documentOf(line);
    if (document && !documents.has(document.id)) documents.set(document.id, document);
  }
  return [...documents.values()];
}

function documentOf(line: string): InvoiceDocument | undefined {
  const cells = line.includes('"') ? QUOTED_COUNTRY.exec(line)?.slice(1) : line.split(',');
  if (cells?.length !== 6) return undefined;
  const [id, date, customer, country, pieces, unitPrice] = cells as [string, string, string, string, string, string];
  const kind = /^\d{6}$/.test(id) ? 'order' : /^C\d{6}$/.test(id) ? 'return' : undefined;
  const at = instantOf(date);
  const quantity = kind === 'return' ? -Number(pieces) : Number(pieces);
  const isRight = /^-?\d+$/.test(pieces) && quantity >= 1 && quantity <= MOST_PIECES && /^\d+(\.\d{1,4})?$/.test(unitPrice) && country !== '';
  if (!kind || !at || !isRight || !/^(\(blank\)|[A-Za-z0-9_]+)$/.test(customer)) return undefined;
  return { kind, id, at, customerId: customer === '(blank)' ? null : customer, country, quantity, unitPrice };
}

/** Month first, as UTC. */
function instantOf(text: string): string | undefined {
  const [month, day, year, hour, minute] = (DATE.exec(text)?.slice(1) ?? []).map(Number) as [number, number, number, number, number];
  if (year === undefined || hour > 23 || minute > 59) return undefined;
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? date.toISOString() : undefined;
}

export const entryOf = ({ country, customerId, kind, quantity, unitPrice }: InvoiceDocument): Entry => ({
  kind,
  country,
  customerId,
  total: BigInt(quantity) * tenThousandths(unitPrice),
});

export function accountsOf(entries: readonly Entry[]): Accounts {
  return {
    byCountry: sumsBy(entries, ({ country }) => country),
    byCustomer: sumsBy(
      entries.filter(({ customerId }) => customerId !== null),
      ({ customerId }) => customerId!,
    ),
  };
}

function sumsBy(entries: readonly Entry[], key: (entry: Entry) => string): Record<string, Sums> {
  const sums = new Map<string, { orders: number; returns: number; net: bigint }>();
  for (const entry of entries) {
    const sum = sums.get(key(entry)) ?? { orders: 0, returns: 0, net: 0n };
    sum[entry.kind === 'order' ? 'orders' : 'returns'] += 1;
    sum.net += entry.kind === 'order' ? entry.total : -entry.total;
    sums.set(key(entry), sum);
  }
  return Object.fromEntries([...sums].map(([name, { net, ...counts }]) => [name, { ...counts, net: fourPlaces(net) }]));
}
