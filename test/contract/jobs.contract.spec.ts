import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlJobStore } from '../../libs/tandem/src/adapters/typeorm/sql-job-store.js';
import { jobContract } from '../../libs/tandem/src/testing/contract/job-contract.js';
import { emptyTandem, sqlWays, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

describe.each(sqlWays())('jobs on $name', ({ asMysql, backend }) => {
  let db: TandemDatabase;
  beforeAll(async () => void (db = await tandemDatabase(backend, { asMysql })));
  afterAll(() => db.drop());

  const open = async () => {
    await emptyTandem(db);
    return { jobs: new SqlJobStore(db.dataSource, db.tables), units: db.units };
  };
  for (const { name, overlapping, run } of jobContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
