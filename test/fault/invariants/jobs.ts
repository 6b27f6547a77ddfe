/** Jobs and letters: what had to happen, happened; what could not, is parked; and nothing else is. */
import type { Fleet } from '../fleet.js';
import type { Ledger } from '../ledger.js';
import { type Log, repeated } from './log.js';
import { ordersOf } from './rows.js';
import { differences, type Violation, violation } from './violations.js';

export async function jobViolations(fleet: Fleet, log: Log, ledger: Ledger): Promise<Violation[]> {
  const orders = ordersOf(log);
  const poisonedJobs = new Set<string>();
  const effects = new Map<string, string>();
  const jobs = new Map<string, number>();
  const count = (key: string) => jobs.set(key, (jobs.get(key) ?? 0) + 1);
  for (const [order, [placed]] of orders) {
    const isPoisoned = placed!.payload.poison === 'job';
    if (isPoisoned) poisonedJobs.add(order);
    else for (const kind of ['confirm', 'stamp']) effects.set(`${kind}:${order}`, '1');
    for (const name of ['fault.confirm', 'fault.stamp', 'fault.mail']) count(`${name} ${isPoisoned ? 'parked' : 'done'}`);
  }
  const moved = new Set(log.ofType('fault.moved').map(({ payload }) => payload.command!));
  for (const { asked } of ledger.entries.values()) {
    if (asked.kind !== 'move' || !asked.job || !moved.has(asked.id)) continue;
    effects.set(`move:${asked.id}`, '1');
    count('fault.count-move done');
  }
  const rows = await fleet.sql<{ id: string; times: number }>('SELECT id, times FROM fault_effect');
  const states = await fleet.sql<{ name: string; state: string; n: number }>('SELECT name, state, COUNT(*) AS n FROM tandem_job GROUP BY name, state');
  return [
    ...violation('Every job has its effect in SQL once', differences(new Map(rows.map(({ id, times }) => [id, String(times)])), effects)),
    ...violation(
      'Every job is done, and those that are poisoned are parked',
      differences(new Map(states.map(({ n, name, state }) => [`${name} ${state}`, String(n)])), new Map([...jobs].map(([key, n]) => [key, String(n)]))),
    ),
    ...['fault.confirmed', 'fault.stamped'].flatMap((type) => violation('A job publishes its event once', repeated(log.ofType(type).map(({ payload }) => payload.order!)))),
    ...(await turns(fleet, log, ledger)),
    ...(await mails(fleet, [...orders.keys()], poisonedJobs)),
    ...(await letters(fleet, log)),
  ];
}

/** Jobs of one key against the order in which their commands have committed. */
async function turns(fleet: Fleet, log: Log, { entries }: Ledger): Promise<Violation[]> {
  const due = new Map<string, string[]>();
  for (const { payload } of log.ofType('fault.moved')) {
    const asked = entries.get(payload.command!)?.asked;
    if (payload.index === 0 && asked?.kind === 'move' && asked.job) due.set(payload.account!, [...(due.get(payload.account!) ?? []), asked.id]);
  }
  const ran = new Map<string, string[]>();
  for (const { account, move } of await fleet.sql<{ account: string; move: string }>('SELECT account, move FROM fault_turn ORDER BY n'))
    ran.set(account, [...(ran.get(account) ?? []), move]);
  const inOrder = (turns: ReadonlyMap<string, readonly string[]>) => new Map([...turns].map(([account, moves]) => [account, moves.join(' ')]));
  return violation('Jobs of one key run in the order of their commits', differences(inOrder(ran), inOrder(due)));
}

async function mails({ mail, ...rest }: Fleet, orders: readonly string[], poisoned: ReadonlySet<string>): Promise<Violation[]> {
  void rest;
  const due = orders.filter((order) => !poisoned.has(order));
  return [
    ...violation(
      'Every effect outside SQL happened',
      due.filter((order) => !mail.mails.has(order)),
    ),
    ...violation(
      'Every effect outside SQL has one key',
      [...mail.mails].filter(([, keys]) => new Set(keys).size > 1).map(([order, keys]) => `${order}: ${keys.join(' ')}`),
    ),
    ...violation(
      'No poisoned job has an effect',
      [...mail.mails.keys()].filter((order) => poisoned.has(order)),
    ),
  ];
}

async function letters(fleet: Fleet, log: Log): Promise<Violation[]> {
  const rows = await fleet.sql<{ consumer: string; stream: string; state: string; event: string }>('SELECT consumer, stream, state, event_id AS event FROM tandem_dead_letter');
  const expected = new Map<string, string>();
  for (const [order, events] of ordersOf(log)) {
    const poisoned = events.find(({ payload }) => payload.poison === 'event');
    if (poisoned) expected.set(`fault.order-view order-${order}`, `parked ${poisoned.eventId}`);
  }
  return violation(
    'What is poisoned is parked, and nothing else',
    differences(new Map(rows.map((row) => [`${row.consumer} ${row.stream}`, `${row.state} ${row.event}`])), expected),
  );
}
