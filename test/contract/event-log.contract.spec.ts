import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { eventLogContract } from '../../libs/tandem/src/testing/contract/event-log-contract.js';
import { sqlBackends } from '../support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

/** MariaDB appends in one block; told that it is MySQL, it goes statement by statement. */
const ways = sqlBackends().flatMap((backend) => [
  { backend, name: backend.name, asMysql: false },
  ...(backend.dialect === 'mysql' ? [{ backend, name: `${backend.name} as MySQL`, asMysql: true }] : []),
]);

describe.each(ways)('the event log on $name', ({ backend, asMysql }) => {
  let db: TandemDatabase;
  beforeAll(async () => void (db = await tandemDatabase(backend)));
  afterAll(() => db.drop());

  const open = async () => {
    await emptyTandem(db);
    const log = new SqlEventLog(db.dataSource, db.tables);
    if (asMysql) Object.assign(log, { isMariaDb: false });
    return { log, units: db.units };
  };
  for (const { name, overlapping, run } of eventLogContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
