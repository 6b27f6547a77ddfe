import { Logger } from '@nestjs/common';
import { afterAll, beforeAll, beforeEach, describe, it, vi } from 'vitest';
import { TypeOrmUnitOfWork } from '../../libs/tandem/src/adapters/typeorm/typeorm-unit-of-work.js';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import { unitOfWorkContract } from '../../libs/tandem/src/testing/contract/unit-of-work-contract.js';
import { sqlBackends } from '../support/backends.js';
import { contractRows, memoryRows } from '../support/contract-rows.js';
import { MemoryUnitOfWork } from '../support/memory-adapters.js';
import { tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

beforeEach(() => void vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined));

describe.each(sqlBackends())('units of work on $name', (backend) => {
  let db: TandemDatabase;
  let table: Awaited<ReturnType<typeof contractRows>>;
  beforeAll(async () => {
    db = await tandemDatabase(backend);
    table = await contractRows(db.dataSource);
  });
  afterAll(() => db.drop());

  const open = async () => {
    await table.empty();
    return { units: new TypeOrmUnitOfWork(db.dataSource, new Clock()), rows: table.rows };
  };
  for (const { name, overlapping, run } of unitOfWorkContract(open)) it.skipIf(overlapping && backend.name === 'pglite')(name, run);
});

// The fake that specs of pipelines and buses rest on; it knows nothing of other transactions.
describe('units of work in memory', () => {
  const open = () => {
    const units = new MemoryUnitOfWork();
    return { units, rows: memoryRows(units) };
  };
  for (const { name, overlapping, run } of unitOfWorkContract(open)) it.skipIf(overlapping)(name, run);
});
