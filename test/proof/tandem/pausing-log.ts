/**
 * The library's log, with a pause between append and COMMIT where the transaction asks for one: the events are written, their
 * shards locked, and nobody may see them. Then it goes on, or rolls back.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { AppendedEvent, PendingEvent, StoredEvent } from '../../../libs/tandem/src/events/event-log.js';
import type { Unit } from '../../../libs/tandem/src/kernel/unit-of-work.js';
import { appendLastBlock, fitsInBlock } from '../../../libs/tandem/src/adapters/typeorm/append-block.js';
import { commitWith } from '../../../libs/tandem/src/adapters/typeorm/sql.js';
import { SqlEventLog } from '../../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { tableNames } from '../../../libs/tandem/src/adapters/typeorm/table-names.js';
import { PLANNED_ROLLBACK, type Transaction } from '../ledger.js';

/** Which transaction the caller runs in. */
export const inTransaction = new AsyncLocalStorage<Transaction>();

const AT_THE_END = /COMMIT; END$/;
const SIGNAL = `SIGNAL SQLSTATE '45001' SET MESSAGE_TEXT = '${PLANNED_ROLLBACK}'`;

export class PausingLog extends SqlEventLog {
  constructor(
    dataSource: DataSource,
    private readonly takesBlocks: boolean,
  ) {
    super(dataSource, tableNames());
  }

  override async append(unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    const stored = await this.appended(unit, events);
    const { pauseMs = 0, rollback } = inTransaction.getStore() ?? {};
    if (pauseMs > 0) await sleep(pauseMs);
    if (rollback === 'after append') throw new Error(PLANNED_ROLLBACK);
    return stored;
  }

  protected appended(unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    return super.append(unit, events);
  }

  /** Where append and COMMIT are one statement, the pause is inside of it. */
  override appendLast(unit: Unit, events: readonly PendingEvent[]): Promise<readonly AppendedEvent[]> {
    const { pauseMs = 0, rollback } = inTransaction.getStore() ?? {};
    if (!this.takesBlocks || !fitsInBlock({ events, outcomes: [] })) return this.append(unit, events);
    if (pauseMs === 0 && rollback !== 'after append') return super.appendLast(unit, events);
    const end = `DO SLEEP(${pauseMs / 1_000}); ${rollback === 'after append' ? SIGNAL : 'COMMIT'}; END`;
    return appendLastBlock((text, params) => commitWith(unit, pausing(text, end), params), { events, outcomes: [] }, tableNames());
  }
}

function pausing(block: string, end: string): string {
  if (!AT_THE_END.test(block)) throw new Error(`The block does not end with COMMIT: ${block.slice(-40)}`);
  return block.replace(AT_THE_END, end);
}
