/** Money moves between accounts: each move is an event in the stream of its account, and a sum that nothing may change. */
import { Command, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { DomainEvent, DurableJobs } from 'nest-tandem';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import type { AskedMove, AskedMoves } from '../asked.js';
import { CountMove } from './jobs.js';
import { Tripwires } from './tripwires.js';

@Entity('fault_account')
export class Account {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('bigint', { default: 0 }) balance!: string;
  @Column('int', { default: 0 }) moves!: number;
}

@DomainEvent('fault.moved', { version: 1, stream: (e) => ['account', e.account] })
export class Moved {
  constructor(
    readonly account: string,
    readonly amount: number,
    /** Of the command, and which of its events this is. */
    readonly command: string,
    readonly index: number,
  ) {}
}

export class Move extends Command<void> {
  constructor(readonly asked: AskedMoves) {
    super();
  }
}

@CommandHandler(Move)
export class MoveHandler implements ICommandHandler<Move> {
  constructor(
    @InjectRepository(Account) private readonly accounts: Repository<Account>,
    private readonly events: EventBus,
    private readonly jobs: DurableJobs,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ asked: { id, moves, job } }: Move): Promise<void> {
    for (const [account, all] of byAccount(moves)) {
      const sum = all.reduce((total, { amount }) => total + amount, 0);
      await this.accounts.query('UPDATE fault_account SET balance = balance + ?, moves = moves + ? WHERE id = ?', [sum, all.length, account]);
    }
    this.tripwires.reach('command.after-write-update');
    if (job) await this.jobs.enqueue(new CountMove(id, moves[0]!.account), { dedupeKey: `move:${id}` });
    this.events.publishAll(moves.map(({ account, amount }, index) => new Moved(account, amount, id, index)));
    this.tripwires.reach('command.after-publish');
  }
}

/** In an order that all commands share: they lock the rows one after the other. */
function byAccount(moves: readonly AskedMove[]): (readonly [string, readonly AskedMove[]])[] {
  const accounts = new Map<string, AskedMove[]>();
  for (const move of moves) accounts.set(move.account, [...(accounts.get(move.account) ?? []), move]);
  return [...accounts].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
