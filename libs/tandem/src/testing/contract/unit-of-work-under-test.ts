import type { UnitOfWork } from '../../kernel/unit-of-work.js';

/** Rows of an application's own table, with a unique key: what commits and what does not is seen in them. */
export interface ContractRows {
  /** In the unit that the caller runs in; a statement of its own outside. Fails where the key is there. */
  insert(key: string): Promise<unknown>;
  /** All keys, as the unit that the caller runs in sees them, in any order. */
  keys(): Promise<readonly string[]>;
}

/** Units of work without steps before COMMIT, and an empty table. */
export interface UnitOfWorkUnderTest {
  readonly units: UnitOfWork;
  readonly rows: ContractRows;
}

export const keysOf = async (rows: ContractRows): Promise<readonly string[]> => (await rows.keys()).toSorted();
