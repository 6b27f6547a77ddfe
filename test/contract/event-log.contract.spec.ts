import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { eventLogContract } from '../../libs/tandem/src/testing/contract/event-log-contract.js';
import { sqlBackends } from '../support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

describe.each(sqlBackends())('the event log on $name', (backend) => {
  let db: TandemDatabase;
  beforeAll(async () => void (db = await tandemDatabase(backend)));
  afterAll(() => db.drop());

  const open = async () => {
    await emptyTandem(db);
    const log = new SqlEventLog(db.dataSource, db.tables);
    return { log, units: db.units };
  };
  for (const { name, overlapping, run } of eventLogContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
