/** Mutants of the library itself: one part of its storage breaks one rule. */
import { getDataSourceToken } from '@nestjs/typeorm';
import { type Checkpoint, type Claim, ConsumerStore, EventLog, type PendingEvent, type StoredEvent, type TandemStorage, type Unit, UnitOfWorkRunner } from 'nest-tandem';
import type { DataSource } from 'typeorm';
import { append } from '../../../libs/tandem/src/adapters/typeorm/append.js';
import { type Sql, sqlOf, sqlOutside } from '../../../libs/tandem/src/adapters/typeorm/sql.js';
import { SqlConsumerStore } from '../../../libs/tandem/src/adapters/typeorm/sql-consumer-store.js';
import { tableNames } from '../../../libs/tandem/src/adapters/typeorm/table-names.js';
import type { Dice } from '../../support/dice.js';
import { PausingLog } from '../tandem/pausing-log.js';
import { withProvider } from '../tandem/tandem-subject.js';

/** In a hundred batches. */
const KILLED = 20;

/** Writes the checkpoint in a transaction of its own. Now and then the worker is killed: before that, or before the COMMIT of what the handlers did. */
class CheckpointApart extends SqlConsumerStore {
  constructor(
    source: DataSource,
    private readonly units: UnitOfWorkRunner,
    private readonly dice: Dice,
  ) {
    super(source, tableNames());
  }

  override async advance(unit: Unit, claim: Claim, checkpoints: readonly Checkpoint[]): Promise<void> {
    if (!['proof.whole', 'proof.sights'].includes(claim.consumer)) return super.advance(unit, claim, checkpoints);
    if (this.dice.percent(KILLED)) return;
    // It waits for the claim's locks, and so for the end of the batch.
    void this.units.outside(() => this.units.run((own) => super.advance(own, claim, checkpoints), { kind: 'consumer' })).catch(() => undefined);
    if (this.dice.percent(KILLED)) throw new Error('killed before COMMIT');
  }
}

export const checkpointApart =
  (dice: Dice) =>
  (storage: TandemStorage): TandemStorage =>
    withProvider(storage, {
      provide: ConsumerStore,
      useFactory: (source: DataSource, units: UnitOfWorkRunner) => new CheckpointApart(source, units, dice),
      inject: [getDataSourceToken(), UnitOfWorkRunner],
    });

/** Takes its numbers in transactions of their own, so that no lock is held until COMMIT. */
class NumbersApart extends PausingLog {
  constructor(private readonly source: DataSource) {
    super(source, false);
  }

  protected override appended(unit: Unit, events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> {
    const sql = sqlOf(unit);
    const apart: Sql = {
      dialect: sql.dialect,
      query: <R>(text: string, params?: readonly unknown[]) =>
        text.startsWith('UPDATE tandem_shard') ? sqlOutside(this.source, (own) => own.query<R>(text, params)) : sql.query<R>(text, params),
    };
    return append(apart, { events, outcomes: [] }, { dataSource: this.source, tables: tableNames() });
  }
}

export const numbersApart = (storage: TandemStorage): TandemStorage =>
  withProvider(storage, { provide: EventLog, useFactory: (source: DataSource) => new NumbersApart(source), inject: [getDataSourceToken()] });
