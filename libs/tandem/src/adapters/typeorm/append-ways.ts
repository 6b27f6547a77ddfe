/** Which way an append goes: MariaDB takes a small one as one block, and where it is the last thing of its unit with COMMIT; all others go statement by statement. */
import type { AppendedEvent, StoredEvent } from '../../events/event-log.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { poolsOf } from './acquire.js';
import { append, type AppendRequest, type Place } from './append.js';
import { appendBlock, appendLastBlock, fitsInBlock, refuseOutsideTransaction } from './append-block.js';
import { commitWith, sqlOf } from './sql.js';

/** @throws OptimisticConcurrencyError, TANDEM_JOB_STALE, TANDEM_UNIT_OF_WORK_DOOMED; the driver's errors. */
export async function appendIn(unit: Unit, request: AppendRequest, place: Place): Promise<readonly StoredEvent[]> {
  const sql = sqlOf(unit);
  const { isMariaDb } = poolsOf(place.dataSource);
  if (isMariaDb && request.events.length > 0 && fitsInBlock(request)) return appendBlock(sql, request, place.tables);
  if (isMariaDb) await refuseOutsideTransaction(sql);
  return append(sql, request, place);
}

/** Nothing follows it but COMMIT, which it may have sent. @throws as `appendIn`, and what COMMIT throws. */
export async function appendLastIn(unit: Unit, request: AppendRequest, place: Place): Promise<readonly AppendedEvent[]> {
  if (!poolsOf(place.dataSource).isMariaDb || !fitsInBlock(request)) return appendIn(unit, request, place);
  return appendLastBlock((text, params) => commitWith(unit, text, params), request, place.tables);
}
