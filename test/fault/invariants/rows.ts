/** Write rows and read rows against a fold of the log. */
import type { Fleet } from '../fleet.js';
import { nextDigest, totalOf } from '../folds.js';
import { accountId, ACCOUNTS } from '../load.js';
import type { Log, LoggedEvent } from './log.js';
import { differences, type Violation, violation } from './violations.js';

interface Trail {
  moves: number;
  balance: number;
  version: number;
  digest: string;
}

export async function rowViolations(fleet: Fleet, log: Log): Promise<Violation[]> {
  return [...(await writeRows(fleet, log)), ...(await followerRows(fleet, log)), ...(await orderViews(fleet, log)), ...(await journal(fleet, log))];
}

async function rowsOf(fleet: Fleet, query: string): Promise<Map<string, string>> {
  const rows = await fleet.sql<Record<string, unknown>>(query);
  return new Map(rows.map((row) => Object.values(row).map(String)).map(([key, ...values]) => [key!, values.join('|')]));
}

function trailsOf(log: Log): Map<string, Trail> {
  const trails = new Map<string, Trail>();
  for (const { payload, version } of log.ofType('fault.moved')) {
    const { account, amount, command, index } = payload as Required<LoggedEvent['payload']>;
    const trail = trails.get(account) ?? { moves: 0, balance: 0, version: 0, digest: '' };
    trails.set(account, { moves: trail.moves + 1, balance: trail.balance + amount, version, digest: nextDigest(trail.digest, { command, index }) });
  }
  return trails;
}

async function writeRows(fleet: Fleet, log: Log): Promise<Violation[]> {
  const trails = trailsOf(log);
  const accounts = new Map(
    Array.from({ length: ACCOUNTS }, (_, i) => accountId(i)).map((id) => {
      const { balance, moves } = trails.get(id) ?? { balance: 0, moves: 0 };
      return [id, `${balance}|${moves}`];
    }),
  );
  const orders = new Map([...ordersOf(log)].map(([order, events]) => [order, viewOf(events)]));
  const [sum] = await fleet.sql<{ sum: string | number }>('SELECT SUM(balance) AS sum FROM fault_account');
  return [
    ...violation('Accounts are the fold of their events', differences(await rowsOf(fleet, 'SELECT id, balance, moves FROM fault_account'), accounts)),
    ...violation('Orders are the fold of their events', differences(await rowsOf(fleet, 'SELECT id, version, changes, confirmations FROM fault_order'), orders)),
    ...violation('Money is neither made nor lost', Number(sum!.sum) === 0 ? [] : [`the sum of all balances is ${sum!.sum}`]),
  ];
}

/** Under every strategy that has tables. */
async function followerRows(fleet: Fleet, log: Log): Promise<Violation[]> {
  const tables = await fleet.sql<{ name: string }>(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'fault\\_trail\\_%' AND table_name NOT LIKE '%\\_\\_g%'",
  );
  const trails = trailsOf(log);
  const expectedTrails = new Map([...trails].map(([id, { balance, digest, moves, version }]) => [id, [moves, balance, version, digest].join('|')]));
  const totals = new Map<string, { moves: number; balance: number }>();
  for (const [id, { balance, moves }] of trails) {
    const total = totals.get(totalOf(id)) ?? { moves: 0, balance: 0 };
    totals.set(totalOf(id), { moves: total.moves + moves, balance: total.balance + balance });
  }
  const expectedTotals = new Map([...totals].map(([id, { balance, moves }]) => [id, `${moves}|${balance}`]));
  const found: Violation[] = [];
  for (const { name } of tables) {
    const strategy = name.replace('fault_trail_', '');
    const trailRows = await rowsOf(fleet, `SELECT id, moves, balance, version, digest FROM ${name}`);
    const totalRows = await rowsOf(fleet, `SELECT id, moves, balance FROM fault_total_${strategy}`);
    found.push(...violation(`Rows of a stream are its fold (${strategy})`, differences(trailRows, expectedTrails)));
    found.push(...violation(`Rows of many streams are their sum (${strategy})`, differences(totalRows, expectedTotals)));
  }
  return found;
}

export function ordersOf(log: Log): Map<string, LoggedEvent[]> {
  return new Map([...log.streams()].filter(([stream]) => stream.startsWith('order-')).map(([stream, events]) => [stream.slice('order-'.length), events]));
}

function viewOf(events: readonly LoggedEvent[]): string {
  const count = (type: string) => events.filter((event) => event.type === type).length;
  return [events.at(-1)!.version, count('fault.changed'), count('fault.confirmed')].join('|');
}

/** Up to the first poisoned event of each stream. */
async function orderViews(fleet: Fleet, log: Log): Promise<Violation[]> {
  const expected = new Map<string, string>();
  for (const [order, events] of ordersOf(log)) {
    const poisoned = events.findIndex(({ payload }) => payload.poison === 'event');
    const digested = poisoned === -1 ? events : events.slice(0, poisoned);
    if (digested.length > 0) expected.set(order, viewOf(digested));
  }
  return violation(
    'Rows of poisoned streams stand before the poison, all others are their fold',
    differences(await rowsOf(fleet, 'SELECT id, version, changes, confirmations FROM fault_order_view'), expected),
  );
}

async function journal(fleet: Fleet, log: Log): Promise<Violation[]> {
  const lines = await fleet.sql<{ place: string }>("SELECT CONCAT(shard, '/', seq) AS place FROM fault_journal ORDER BY n");
  const written = new Map<string, number>();
  for (const { place } of lines) written.set(place, (written.get(place) ?? 0) + 1);
  const streams = new Map(log.events.map(({ seq, shard, stream }) => [`${shard}/${seq}`, stream]));
  const last = new Map<string, number>();
  // Streams of one shard may overtake each other: one whose event has failed is tried again later.
  const order = lines.filter(({ place }) => {
    const stream = streams.get(place) ?? '';
    const before = last.get(stream) ?? 0;
    const seq = Number(place.split('/')[1]);
    last.set(stream, seq);
    return seq < before;
  });
  return [
    ...violation(
      'A free projection skips nothing',
      [...streams.keys()].filter((place) => !written.has(place)),
    ),
    ...violation(
      'A free projection repeats nothing',
      [...written].filter(([place, times]) => times > 1 || !streams.has(place)).map(([place, times]) => `${place} ${times} times`),
    ),
    ...violation(
      'A free projection keeps the order of each stream',
      order.map(({ place }) => place),
    ),
  ];
}
