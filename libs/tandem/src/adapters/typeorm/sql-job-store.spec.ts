/** What the contract of jobs leaves to their table. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { JobTicket, NewJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import { SqlJobStore } from './sql-job-store.js';
import { sqlOutside } from './sql.js';

const newJob = (): NewJob => ({
  ...{ id: newId(), name: 'orders.confirm', queue: 'mail', payload: '{}', metadata: '{}' },
  ...{ dedupeKey: null, delayMs: 0, priority: 0, sequenceKey: null },
});

describe.each(sqlBackends())('SqlJobStore on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlJobStore;

  const insert = (...jobs: NewJob[]): Promise<readonly JobTicket[]> => db.units.run((unit) => store.insert(unit, jobs));

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlJobStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(() => emptyTandem(db));

  it('sweeps more jobs than one step takes', async () => {
    const jobs = await insert(...Array.from({ length: 1_203 }, newJob));
    for (const some of [jobs.slice(0, 600), jobs.slice(600)]) {
      await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.job} SET state = 'done' WHERE id IN (?)`, [some.map(({ id }) => id)]));
    }
    await insert(newJob());
    expect(await store.sweep(0)).toBe(1_203);
    expect(await store.counts()).toEqual([{ name: 'orders.confirm', state: 'waiting', count: 1 }]);
  });
});
