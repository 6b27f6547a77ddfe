import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlJobStore } from '../../libs/tandem/src/adapters/typeorm/sql-job-store.js';
import { jobContract } from '../../libs/tandem/src/testing/contract/job-contract.js';
import { sqlBackends } from '../support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

describe.each(sqlBackends())('jobs on $name', (backend) => {
  let db: TandemDatabase;
  beforeAll(async () => void (db = await tandemDatabase(backend)));
  afterAll(() => db.drop());

  const open = async () => {
    await emptyTandem(db);
    return { jobs: new SqlJobStore(db.dataSource, db.tables), units: db.units };
  };
  for (const { name, overlapping, run } of jobContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
