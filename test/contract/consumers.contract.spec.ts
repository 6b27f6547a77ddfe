import { afterAll, beforeAll, describe, it } from 'vitest';
import { SqlConsumerStore } from '../../libs/tandem/src/adapters/typeorm/sql-consumer-store.js';
import { SqlDeadLetterStore } from '../../libs/tandem/src/adapters/typeorm/sql-dead-letter-store.js';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { consumerContract } from '../../libs/tandem/src/testing/contract/consumer-contract.js';
import { sqlBackends } from '../support/backends.js';
import { contractRows } from '../support/contract-rows.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

describe.each(sqlBackends())('consumers on $name', (backend) => {
  let db: TandemDatabase;
  let table: Awaited<ReturnType<typeof contractRows>>;
  beforeAll(async () => {
    db = await tandemDatabase(backend);
    table = await contractRows(db.dataSource);
  });
  afterAll(() => db.drop());

  const open = async () => {
    await Promise.all([emptyTandem(db), table.empty()]);
    return {
      ...{ units: db.units, rows: table.rows },
      log: new SqlEventLog(db.dataSource, db.tables),
      consumers: new SqlConsumerStore(db.dataSource, db.tables),
      letters: new SqlDeadLetterStore(db.dataSource, db.tables),
    };
  };
  for (const { name, overlapping, run } of consumerContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});
