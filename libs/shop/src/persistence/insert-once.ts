import type { DeepPartial, EntityManager, ObjectLiteral, Repository } from 'typeorm';
import { QueryFailedError } from 'typeorm';

const MYSQL_DUPLICATE = 'ER_DUP_ENTRY';
const POSTGRES_DUPLICATE = '23505';

/**
 * Inserts a row unless one with its key, or with another of its unique values, is there: then false. The insert stands in a
 * savepoint, because on PostgreSQL a refused insert would otherwise end the transaction.
 */
export async function insertOnce<E extends ObjectLiteral>(rows: Repository<E>, row: DeepPartial<E>): Promise<boolean> {
  try {
    await rows.manager.transaction(async (manager: EntityManager) => {
      await manager.getRepository<E>(rows.target).insert(row as Parameters<Repository<E>['insert']>[0]);
    });
    return true;
  } catch (error) {
    if (isDuplicate(error)) return false;
    throw error;
  }
}

/** True when the database refused a row because of a primary or unique key. */
export function isDuplicate(error: unknown): boolean {
  const driverError: unknown = error instanceof QueryFailedError ? error.driverError : error;
  const code = (driverError as { code?: unknown } | null)?.code;
  return code === MYSQL_DUPLICATE || code === POSTGRES_DUPLICATE;
}
