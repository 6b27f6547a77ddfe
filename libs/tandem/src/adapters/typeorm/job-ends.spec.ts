/** A job ends with the unit of its effect: on MariaDB in the block that commits it, elsewhere by a statement before. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { PendingEvent } from '../../events/event-log.js';
import type { JobTicket, NewJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { SqlEventLog } from './sql-event-log.js';
import { SqlJobStore } from './sql-job-store.js';
import { sqlOutside } from './sql.js';

const newJob = (sequenceKey: string | null = null): NewJob => ({
  ...{ id: newId(), name: 'orders.confirm', queue: 'mail', payload: '{}', metadata: '{}' },
  ...{ dedupeKey: null, delayMs: 0, priority: 0, sequenceKey },
});
const pending = (n: number): PendingEvent => ({
  ...{ eventId: newId(), tenant: '', stream: `order-${n}`, type: 'test.happened', schemaVersion: 1 },
  ...{ payload: '{}', metadata: '{}', expected: 'any' as const },
});

describe.each(sqlBackends())('the end of a job on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlJobStore;
  /** What the next unit appends. */
  let events: PendingEvent[] = [];

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlJobStore(db.dataSource, db.tables);
    const log = new SqlEventLog(db.dataSource, db.tables);
    db.units.lastBeforeCommit(async (unit) => void (await log.appendLast(unit, events.splice(0))));
  });
  afterAll(() => db.drop());
  beforeEach(() => emptyTandem(db));

  const running = async (): Promise<JobTicket> => {
    const [ticket] = await db.units.run((unit) => store.insert(unit, [newJob()]));
    return (await store.claim(ticket!, 60_000))!;
  };
  /** A handler's run: it queues another job, and may append. */
  const handle = (ticket: JobTicket, appended: number, next: NewJob = newJob()): Promise<void> => {
    events = Array.from({ length: appended }, (_, n) => pending(n % 20));
    return db.units.run(async (unit: Unit) => {
      await store.insert(unit, [next]);
      await store.complete(ticket, unit);
    });
  };
  const count = async (table: string): Promise<number> => {
    const [row] = await sqlOutside(db.dataSource, (sql) => sql.query<{ n: number | string }[]>(`SELECT COUNT(*) AS n FROM ${table}`));
    return Number(row!.n);
  };

  // None; few, in a block of MariaDB; more streams than that takes.
  it.each([0, 2, 60])('commits with what its handler wrote and %i events', async (appended) => {
    const ticket = await running();
    await handle(ticket, appended);
    expect((await store.list('done', 10)).map(({ id }) => id)).toEqual([ticket.id]);
    expect([await count(db.tables.event), await count(db.tables.job)]).toEqual([appended, 2]);
  });

  it.each([0, 2, 60])('is refused to a run that was taken over, with what its handler wrote and %i events', async (appended) => {
    const { epoch, ...ticket } = await running();
    await expect(handle({ ...ticket, epoch: epoch - 1 }, appended)).rejects.toMatchObject({
      code: 'TANDEM_JOB_STALE',
      message: expect.stringContaining(`${ticket.id} is no longer in run ${epoch - 1}`),
    });
    expect([await count(db.tables.event), await count(db.tables.job)]).toEqual([0, 1]);
    expect(await store.list('running', 10)).toHaveLength(1);
    await handle({ ...ticket, epoch }, appended);
    expect(await store.list('done', 10)).toHaveLength(1);
  });

  it.each(['before', 'after'])('goes with the numbers of jobs that were put into sequences %s it', async (when) => {
    const next = newJob('order-1');
    const ticket = await running();
    await db.units.run(async (unit) => {
      if (when === 'before') await store.insert(unit, [next]);
      await store.complete(ticket, unit);
      if (when === 'after') await store.insert(unit, [next]);
    });
    expect((await store.release(['order-1'])).map(({ id }) => id)).toEqual([next.id]);
    expect(await store.list('done', 10)).toHaveLength(1);
  });

  it('goes with more jobs of sequences than a block takes', async () => {
    const ticket = await running();
    const next = Array.from({ length: 60 }, () => newJob('order-2'));
    await db.units.run(async (unit) => {
      await store.insert(unit, next);
      await store.complete(ticket, unit);
    });
    expect((await store.release(['order-2'])).map(({ id }) => id)).toEqual([next[0]!.id]);
    expect((await store.list('done', 10)).map(({ id }) => id)).toEqual([ticket.id]);
  });
});
