/** The shop's read rows, worked out anew from the events of the log, with plain SQL and nothing of the shop's code. */
import type { DataSource } from 'typeorm';
import { type Accounts, accountsOf, type Entry } from './invoice-accounts.js';
import type { Sums } from './invoices.js';
import { tenThousandths } from './ten-thousandths.js';

interface Payload {
  readonly orderId?: string;
  readonly customerId: string | null;
  readonly country: string;
  readonly placedAt?: string;
  readonly lines: unknown;
  readonly total: string;
}

/** Order → what its row says, as text. */
type Views = Readonly<Record<string, string>>;

export interface ReadSide extends Accounts {
  readonly views: Views;
}

export interface Fold extends ReadSide {
  readonly events: number;
}

/** MariaDB. Sums are worked out by hand, so the order of the events does not matter. */
export async function foldOfTheLog(source: DataSource): Promise<Fold> {
  const rows = await source.query<{ type: string; payload: string }[]>('SELECT type, payload FROM tandem_event');
  const events = rows.map(({ type, payload }) => ({ type, payload: JSON.parse(payload) as Payload }));
  const views = events.flatMap(({ payload, type }) => (type === 'order.placed' ? [[payload.orderId!, viewOf(payload.placedAt!, payload)] as const] : []));
  const entries = events.map(({ payload: { country, customerId, total }, type }): Entry => ({
    kind: type === 'order.placed' ? 'order' : 'return',
    country,
    customerId,
    total: tenThousandths(total),
  }));
  return { ...accountsOf(entries), views: Object.fromEntries(views), events: events.length };
}

export async function readRows(source: DataSource): Promise<ReadSide> {
  const views = await source.query<(Omit<Payload, 'lines'> & { id: string; status: string; at: string; lines: string })[]>(
    `SELECT id, status, customer_id AS customerId, country, DATE_FORMAT(placed_at, '%Y-%m-%dT%H:%i:%s.000Z') AS at, total, \`lines\` FROM shop_order_view`,
  );
  return {
    byCountry: sums(await source.query('SELECT country AS name, orders, returns, net_sales AS net FROM shop_country_sales')),
    byCustomer: sums(await source.query('SELECT customer_id AS name, orders, returns, spent AS net FROM shop_customer_spending')),
    views: Object.fromEntries(views.map(({ id, at, lines, ...row }) => [id, viewOf(at, { ...row, lines: JSON.parse(lines) as unknown }, row.status)])),
  };
}

const viewOf = (at: string, { country, customerId, lines, total }: Payload, status = 'placed'): string => JSON.stringify([status, customerId, country, at, total, lines]);

const sums = (rows: readonly Record<string, unknown>[]): Record<string, Sums> =>
  Object.fromEntries(rows.map(({ name, orders, returns, net }) => [String(name), { orders: Number(orders), returns: Number(returns), net: String(net) }]));
