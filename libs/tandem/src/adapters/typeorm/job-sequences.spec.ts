/** What numbers of sequences cost, and that they are taken with those of the events. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import { type PendingEvent, shardOf } from '../../events/event-log.js';
import type { NewJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import { PooledConnection } from './pooled-connection.js';
import { SqlEventLog } from './sql-event-log.js';
import { SqlJobStore } from './sql-job-store.js';
import { sqlOutside } from './sql.js';

const jobOf = (sequenceKey: string | null): NewJob => ({
  ...{ id: newId(), name: 'orders.ship', queue: 'orders', payload: '{}', metadata: '{}' },
  ...{ dedupeKey: null, delayMs: 0, priority: 0, sequenceKey },
});
const event = (stream: string): PendingEvent => ({
  ...{ eventId: newId(), tenant: '', stream, type: 'order.placed', schemaVersion: 1 },
  ...{ payload: '{}', metadata: '{}', expected: 'any' },
});

describe.each(sqlBackends())('numbers of sequences on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlJobStore;
  let log: SqlEventLog;

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlJobStore(db.dataSource, db.tables);
    log = new SqlEventLog(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(() => emptyTandem(db));

  /** Statements of one unit that queues a job and appends an event. */
  async function statements(sequenceKey: string | null): Promise<number> {
    const spies = [vi.spyOn(PooledConnection.prototype, 'send'), vi.spyOn(PooledConnection.prototype, 'commitWith')];
    await db.units.run(async (unit) => {
      await store.insert(unit, [jobOf(sequenceKey)]);
      await log.appendLast(unit, [event('order-1')]);
    });
    const count = spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    vi.restoreAllMocks();
    return count;
  }
  const rows = <T>(text: string) => sqlOutside(db.dataSource, (sql) => sql.query<T[]>(text));

  it('cost jobs without a key nothing, and those with one at most one statement', async () => {
    await statements(null); // asks once which server it is
    const without = await statements(null);
    expect(await rows(`SELECT shard FROM ${db.tables.shard} WHERE job_head > 0`)).toEqual([]);
    expect((await statements('order-1')) - without).toBe(backend.name === 'mariadb' ? 0 : 1);
  });

  it('are those of the shard of their key, in the order in which the unit queued its jobs, with or without events', async () => {
    const keys = ['a', 'b', 'a', 'c', 'a'];
    for (const withEvents of [true, false]) {
      await db.units.run(async (unit) => {
        for (const key of keys) await store.insert(unit, [jobOf(key)]);
        if (withEvents) await log.append(unit, [event('order-1'), event('order-2')]);
      });
    }
    const numbers = async (key: string) =>
      (await rows<{ n: number | string }>(`SELECT sequence_no AS n FROM ${db.tables.job} WHERE sequence_key = '${key}' ORDER BY id`)).map(({ n }) => Number(n));
    const heads = await rows<{ shard: number; n: number | string }>(`SELECT shard, job_head AS n FROM ${db.tables.shard} WHERE job_head > 0`);
    expect(await numbers('a')).toEqual([1, 2, 3, 4, 5, 6]);
    expect(new Map(heads.map(({ shard, n }) => [shard, Number(n)]))).toEqual(new Map([['a', 6], ['b', 2], ['c', 2]].map(([key, n]) => [shardOf('', key as string), n]))); // prettier-ignore
    const events = await rows<{ n: number | string }>(`SELECT SUM(head) AS n FROM ${db.tables.shard}`);
    expect(Number(events[0]!.n)).toBe(2);
  });

  it('are not taken by a unit that is rolled back', async () => {
    const failing = db.units.run(async (unit) => {
      await store.insert(unit, [jobOf('a')]);
      await log.append(unit, [event('order-1')]);
      throw new Error('abort');
    });
    await expect(failing).rejects.toThrow('abort');
    expect(await rows(`SELECT shard FROM ${db.tables.shard} WHERE job_head > 0 OR head > 0`)).toEqual([]);
  });
});
