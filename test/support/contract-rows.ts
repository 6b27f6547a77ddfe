import type { DataSource } from 'typeorm';
import { sqlOutside } from '../../libs/tandem/src/adapters/typeorm/sql.js';
import { TandemError } from '../../libs/tandem/src/kernel/errors.js';
import type { ContractRows } from '../../libs/tandem/src/testing/contract/unit-of-work-under-test.js';
import type { MemoryUnitOfWork } from './memory-adapters.js';

/** The table in which contracts see what was committed. */
export async function contractRows(dataSource: DataSource): Promise<{ readonly rows: ContractRows; empty(): Promise<unknown> }> {
  await sqlOutside(dataSource, (sql) => sql.query('CREATE TABLE contract_row (id VARCHAR(200) PRIMARY KEY)'));
  return {
    rows: {
      insert: (key) => dataSource.query(`INSERT INTO contract_row VALUES ('${key}')`),
      keys: async () => ((await dataSource.query('SELECT id FROM contract_row')) as { id: string }[]).map(({ id }) => id),
    },
    empty: () => dataSource.query('DELETE FROM contract_row'),
  };
}

const ROWS = Symbol('rows');

/** The same in memory, for units of work in memory. */
export function memoryRows(units: MemoryUnitOfWork): ContractRows {
  const committed: string[] = [];
  const seen = (): readonly string[] => [...committed, ...(units.current?.listOf<string>(ROWS) ?? [])];
  units.onCommit = (unit) => void committed.push(...unit.listOf<string>(ROWS));
  return {
    insert: async (key) => {
      if (seen().includes(key)) throw new Error(`duplicate key ${key}`);
      if (units.current?.kind === 'snapshot') throw new TandemError('TANDEM_QUERY_WROTE', 'A snapshot is read only');
      if (units.current) units.current.add(ROWS, key);
      else committed.push(key);
    },
    keys: async () => seen(),
  };
}
