/** A small bank that the guarantees are tried on: one aggregate, every kind of consumer, a switch for each fault. */
import { Injectable } from '@nestjs/common';
import { Command, CommandHandler, EventBus, type ICommandHandler, type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { CacheResult, type Delta, DomainEvent, DurableSaga, type EventMetadata, MessageContext, On, OnDelta, Projection, QueuedCommand, Reads, SyncStrategy } from 'nest-tandem';

@Entity('bank_account')
export class Account {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) balance!: string;
}

/** One row per letter that a job has counted, with how often. */
@Entity('bank_letter')
export class Letter {
  @PrimaryColumn('varchar', { length: 60 }) accountId!: string;
  @Column('int') count!: number;
}

@Entity('bank_account_view')
export class AccountView {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 20 }) status!: string;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) charged!: string;
  @Column('int', { default: 0 }) charges!: number;
  @Column('int', { default: 0 }) lastVersion!: number;
}

@Entity('bank_totals')
export class Totals {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int', { default: 0 }) accounts!: number;
  @Column('int', { default: 0 }) charges!: number;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) charged!: string;
}

@Entity('bank_directory')
export class Directory {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int', { default: 0 }) events!: number;
}

@DomainEvent('bank.opened', { version: 1, stream: (e) => ['account', e.accountId] })
export class Opened {
  constructor(readonly accountId: string) {}
}

@DomainEvent('bank.charged', { version: 1, stream: (e) => ['account', e.accountId] })
export class Charged {
  constructor(
    readonly accountId: string,
    readonly amount: string,
  ) {}
}

export class Open extends Command<void> {
  constructor(
    readonly accountId: string,
    readonly then: 'commit' | 'throw' = 'commit',
  ) {
    super();
  }
}

export class Charge extends Command<void> {
  constructor(
    readonly accountId: string,
    readonly amount: string,
    readonly then: 'commit' | 'throw' | 'catch-sql-error' = 'commit',
  ) {
    super();
  }
}

@QueuedCommand('bank.send-letter', { queue: 'letters', effect: 'external', attempts: 4, backoffMs: 10 })
export class SendLetter extends Command<void> {
  constructor(readonly accountId: string) {
    super();
  }
}

@QueuedCommand('bank.count-letter', { queue: 'counting', effect: 'sql', attempts: 4, backoffMs: 10 })
export class CountLetter extends Command<void> {
  constructor(readonly accountId: string) {
    super();
  }
}

export class GetAccount extends Query<AccountView | null> {
  constructor(readonly accountId: string) {
    super();
  }
}

export class GetDirectory extends Query<Directory | null> {
  constructor(readonly accountId: string) {
    super();
  }
}

/** What a test may break: event or job handlers that throw for these accounts, and how often they ran. */
@Injectable()
export class Faults {
  readonly poisonedView = new Set<string>();
  readonly poisonedTotals = new Set<string>();
  readonly poisonedDirectory = new Set<string>();
  readonly poisonedLetters = new Set<string>();
  readonly poisonedCounts = new Set<string>();
  readonly letters: { readonly accountId: string; readonly key: string; readonly correlationId: string; readonly causationId?: string }[] = [];
  fail(where: ReadonlySet<string>, accountId: string): void {
    if (where.has(accountId)) throw new Error(`poisoned ${accountId}`);
  }
}

@CommandHandler(Open)
export class OpenHandler implements ICommandHandler<Open> {
  constructor(
    @InjectRepository(Account) private readonly accounts: Repository<Account>,
    private readonly events: EventBus,
  ) {}
  async execute({ accountId, then }: Open): Promise<void> {
    this.events.publish(new Opened(accountId));
    await this.accounts.insert({ id: accountId, balance: '0' });
    if (then === 'throw') throw new Error('changed its mind');
  }
}

@CommandHandler(Charge)
export class ChargeHandler implements ICommandHandler<Charge> {
  constructor(
    @InjectRepository(Account) private readonly accounts: Repository<Account>,
    private readonly events: EventBus,
  ) {}
  async execute({ accountId, amount, then }: Charge): Promise<void> {
    await this.accounts.query(
      'UPDATE bank_account SET balance = balance + ' + (this.accounts.manager.connection.options.type === 'postgres' ? '$1::numeric WHERE id = $2' : '? WHERE id = ?'),
      [amount, accountId],
    );
    this.events.publish(new Charged(accountId, amount));
    if (then === 'throw') throw new Error('changed its mind');
    if (then === 'catch-sql-error') await this.accounts.insert({ id: accountId, balance: '0' }).catch(() => 'the handler believes that it may go on');
  }
}

@CommandHandler(SendLetter)
export class SendLetterHandler implements ICommandHandler<SendLetter> {
  constructor(
    private readonly faults: Faults,
    private readonly context: MessageContext,
  ) {}
  async execute({ accountId }: SendLetter): Promise<void> {
    this.faults.fail(this.faults.poisonedLetters, accountId);
    const { idempotencyKey: key, correlationId, causationId } = this.context;
    this.faults.letters.push({ accountId, key, correlationId, causationId });
  }
}

@CommandHandler(CountLetter)
export class CountLetterHandler implements ICommandHandler<CountLetter> {
  constructor(
    @InjectRepository(Letter) private readonly letters: Repository<Letter>,
    private readonly faults: Faults,
  ) {}
  async execute({ accountId }: CountLetter): Promise<void> {
    const letter = await this.letters.findOneBy({ accountId });
    await this.letters.save({ accountId, count: (letter?.count ?? 0) + 1 });
    this.faults.fail(this.faults.poisonedCounts, accountId);
  }
}

@DurableSaga('bank.letters')
export class LetterSaga {
  @On(Opened)
  opened(event: Opened) {
    return [new SendLetter(event.accountId), new CountLetter(event.accountId)];
  }
}

@Projection('bank.account-view', { entity: AccountView, version: 1, sync: SyncStrategy.eventual() })
export class AccountViewProjection {
  constructor(private readonly faults: Faults) {}
  @On(Opened)
  opened(view: AccountView, _event: Opened, { version }: EventMetadata) {
    view.status = 'open';
    view.lastVersion = version;
  }
  @On(Charged, { whenMissing: 'fail' })
  charged(view: AccountView, event: Charged, { version }: EventMetadata) {
    this.faults.fail(this.faults.poisonedView, event.accountId);
    view.charged = (Number(view.charged) + Number(event.amount)).toFixed(4);
    view.charges += 1;
    view.lastVersion = version;
  }
}

@Projection('bank.totals', { entity: Totals, version: 1 })
export class TotalsProjection {
  constructor(private readonly faults: Faults) {}
  @OnDelta(Opened, { key: () => ({ id: 'all' }) })
  opened(totals: Delta<Totals>, event: Opened) {
    this.faults.fail(this.faults.poisonedTotals, event.accountId);
    totals.add('accounts', 1);
  }
  @OnDelta(Charged, { key: () => ({ id: 'all' }) })
  charged(totals: Delta<Totals>, event: Charged) {
    totals.add('charges', 1).add('charged', event.amount);
  }
}

@Projection('bank.directory', { entity: Directory, version: 1, sync: SyncStrategy.immediate() })
export class DirectoryProjection {
  constructor(private readonly faults: Faults) {}
  @On(Opened)
  opened(row: Directory, event: Opened) {
    this.faults.fail(this.faults.poisonedDirectory, event.accountId);
    row.events += 1;
  }
  @On(Charged)
  charged(row: Directory, _event: Charged) {
    row.events += 1;
  }
}

@QueryHandler(GetAccount)
@Reads(AccountView)
@CacheResult()
export class GetAccountHandler implements IQueryHandler<GetAccount> {
  constructor(@InjectRepository(AccountView) private readonly views: Repository<AccountView>) {}
  execute({ accountId }: GetAccount): Promise<AccountView | null> {
    return this.views.findOneBy({ id: accountId });
  }
}

@QueryHandler(GetDirectory)
@Reads(Directory)
export class GetDirectoryHandler implements IQueryHandler<GetDirectory> {
  constructor(@InjectRepository(Directory) private readonly rows: Repository<Directory>) {}
  execute({ accountId }: GetDirectory): Promise<Directory | null> {
    return this.rows.findOneBy({ id: accountId });
  }
}

export const bankEntities = [Account, Letter, AccountView, Totals, Directory];
export const bankProviders = [
  Faults,
  OpenHandler,
  ChargeHandler,
  SendLetterHandler,
  CountLetterHandler,
  LetterSaga,
  AccountViewProjection,
  TotalsProjection,
  DirectoryProjection,
  GetAccountHandler,
  GetDirectoryHandler,
];
