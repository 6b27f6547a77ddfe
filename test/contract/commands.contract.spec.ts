import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlCommandStore } from '../../libs/tandem/src/adapters/typeorm/sql-command-store.js';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { commandContract } from '../../libs/tandem/src/testing/contract/command-contract.js';
import { sqlBackends } from '../support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

describe.each(sqlBackends())('command ids on $name', { timeout: 60_000 }, (backend) => {
  let db: TandemDatabase;
  beforeAll(async () => void (db = await tandemDatabase(backend)));
  afterAll(() => db.drop());

  const open = async () => {
    await emptyTandem(db);
    return { commands: new SqlCommandStore(db.dataSource, db.tables), log: new SqlEventLog(db.dataSource, db.tables), units: db.units };
  };
  for (const { name, overlapping, run } of commandContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
