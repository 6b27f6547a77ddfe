/** What the benchmark of jobs runs on Tandem: sagas that answer each charge with a queued command, whose handler makes one UPDATE. The events of a filled log name one account; many jobs that wait for one row would be another benchmark. */
import { Command, CommandHandler } from '@nestjs/cqrs';
import { InjectEntityManager } from '@nestjs/typeorm';
import { DurableSaga, On, QueuedCommand } from 'nest-tandem';
import { EntityManager } from 'typeorm';
import { anAccount } from './commands.js';
import { Charged } from './ledger.js';

/** As many run at once as in the worker by hand. */
export const JOBS_AT_ONCE = 16;

export const BATCH_SIZE = 50;
/** They lock rows by chance, each fifty of a thousand: with sixteen of them deadlocks would be what is measured. */
const BATCHES_AT_ONCE = 3;

const OPTIONS = { queue: 'bench', concurrency: JOBS_AT_ONCE } as const;

@QueuedCommand('bench.settle', { ...OPTIONS, effect: 'sql' })
export class Settle extends Command<void> {
  constructor(readonly account: number) {
    super();
  }
}

@QueuedCommand('bench.settle-together', { queue: 'bench-together', concurrency: BATCHES_AT_ONCE, effect: 'sql', batchSize: BATCH_SIZE })
export class SettleTogether extends Command<void> {
  constructor(readonly account: number) {
    super();
  }
}

@QueuedCommand('bench.settle-outside', { ...OPTIONS, effect: 'external' })
export class SettleOutside extends Command<void> {
  constructor(readonly account: number) {
    super();
  }
}

const settle = (manager: EntityManager, account: number): Promise<unknown> => manager.query('UPDATE bench_account SET balance = balance + ? WHERE id = ?', [1, account]);

@CommandHandler(Settle)
export class SettleHandler {
  constructor(@InjectEntityManager() readonly manager: EntityManager) {}
  async execute({ account }: Settle): Promise<void> {
    await settle(this.manager, account);
  }
}

@CommandHandler(SettleTogether)
export class SettleTogetherHandler {
  constructor(@InjectEntityManager() readonly manager: EntityManager) {}
  async execute({ account }: SettleTogether): Promise<void> {
    await settle(this.manager, account);
  }
}

@CommandHandler(SettleOutside)
export class SettleOutsideHandler {
  constructor(@InjectEntityManager() readonly manager: EntityManager) {}
  async execute({ account }: SettleOutside): Promise<void> {
    await settle(this.manager, account);
  }
}

@DurableSaga('bench.settlements')
export class Settlements {
  @On(Charged) charged(_event: Charged): Settle {
    return new Settle(anAccount());
  }
}

@DurableSaga('bench.settlements-together')
export class SettlementsTogether {
  @On(Charged) charged(_event: Charged): SettleTogether {
    return new SettleTogether(anAccount());
  }
}

@DurableSaga('bench.outside-settlements')
export class OutsideSettlements {
  @On(Charged) charged(_event: Charged): SettleOutside {
    return new SettleOutside(anAccount());
  }
}

export const settlements = [SettleHandler, SettleTogetherHandler, SettleOutsideHandler, Settlements, SettlementsTogether, OutsideSettlements];
