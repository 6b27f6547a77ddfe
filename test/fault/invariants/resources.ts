/** Connections, timers and memory: at rest after the faults as at rest before them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from '../fleet.js';
import { DATABASE } from '../fleet.js';
import type { Resources } from '../messages.js';
import { type Violation, violation } from './violations.js';

/** What a process may have more of than before: caches warm up, and a look of a reconciler may be under way. */
const MORE_TIMERS = 15;
const MORE_HEAP_MB = 64;
/** Pools of one process, full. */
const CONNECTIONS = 8 + 8 + 2 + 6;
const CALM_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 500;

export type Footprint = ReadonlyMap<string, Resources>;

export async function footprint({ places }: Fleet): Promise<Footprint> {
  const found = new Map<string, Resources>();
  for (const { current, name } of places) {
    const resources = await current.resources();
    if (resources) found.set(name, resources);
  }
  return found;
}

/** While the processes run. */
export async function resourceViolations(fleet: Fleet, before: Footprint): Promise<Violation[]> {
  const after = await footprint(fleet);
  const grown = [...after].flatMap(([name, { heapMb, timers }]) => {
    const first = before.get(name)!;
    return [
      ...(timers > first.timers + MORE_TIMERS ? [`${name} has ${timers} timers, and had ${first.timers}`] : []),
      ...(heapMb > first.heapMb + MORE_HEAP_MB ? [`${name} has ${heapMb} MB of heap, and had ${first.heapMb} MB`] : []),
    ];
  });
  const open = await within(() => openTransactions(fleet));
  const crowds = fleet.places.filter(({ plan }) => plan.toDatabase.connections > CONNECTIONS).map(({ name, plan }) => `${name} has ${plan.toDatabase.connections} connections`);
  const sessions = await within(() => surplusSessions(fleet));
  return [
    ...violation('Timers and memory are back to where they were', grown),
    ...violation('No transaction is left open', open),
    ...violation('Connections are within the pools', crowds),
    ...violation('The database has no session that nobody uses', sessions),
  ];
}

/** When the processes have ended. */
export async function leftoverViolations(fleet: Fleet): Promise<Violation[]> {
  return violation('A process leaves no session behind', await within(() => surplusSessions(fleet)));
}

async function openTransactions(fleet: Fleet): Promise<string[]> {
  const rows = await fleet.sql<{ id: number; query: string | null }>(
    'SELECT trx_mysql_thread_id AS id, trx_query AS query FROM information_schema.innodb_trx WHERE trx_started < NOW() - INTERVAL 5 SECOND',
  );
  return rows.map(({ id, query }) => `session ${id} has a transaction open${query ? `: ${query.slice(0, 100)}` : ''}`);
}

/** Sessions on the server, beyond the connections that go through the proxies. */
async function surplusSessions(fleet: Fleet): Promise<string[]> {
  const [row] = await fleet.sql<{ n: number }>('SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()', [DATABASE]);
  const connections = fleet.places.reduce((sum, { plan }) => sum + plan.toDatabase.connections, 0);
  return Number(row!.n) > connections ? [`${row!.n} sessions for ${connections} connections`] : [];
}

/** Looks again for a while: what ends just now is no leak. */
async function within(look: () => Promise<string[]>): Promise<string[]> {
  for (const deadline = Date.now() + CALM_WITHIN_MS; ;) {
    const found = await look();
    if (found.length === 0 || Date.now() > deadline) return found;
    await sleep(LOOK_EVERY_MS);
  }
}
