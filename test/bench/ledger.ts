/** What the benchmarks run on Tandem: one UPDATE and two events a command, and one row projection. */
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectEntityManager, InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DomainEvent, ExpectedVersion, On, Projection, TandemModule, type TandemSettings } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';
import { Column, type DataSourceOptions, Entity, EntityManager, PrimaryColumn, Repository } from 'typeorm';

@Entity('bench_account')
export class Account {
  @PrimaryColumn('int') id!: number;
  @Column('int') balance!: number;
  @Column('varchar', { length: 60 }) owner!: string;
}

@Entity('bench_view')
export class View {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 20, default: '' }) status!: string;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) amount!: string;
  @Column('int', { default: 0 }) changes!: number;
}

@DomainEvent('bench.charged', { version: 1, stream: (e) => ['charge', e.id] })
export class Charged {
  constructor(
    readonly id: string,
    readonly account: number,
    readonly amount: string,
  ) {}
}

@DomainEvent('bench.noted', { version: 1, stream: (e) => ['charge', e.id] })
export class Noted {
  constructor(
    readonly id: string,
    readonly text: string,
  ) {}
}

export class Charge extends Command<void> {
  constructor(
    readonly id: string,
    readonly account: number,
  ) {
    super();
  }
}
/** The same, with the UPDATE by `repository.update`. */
export class ChargeByRepository extends Charge {}

/** A charge is a new stream: what the hand-written side knows too. */
const events = ({ id, account }: Charge) => [ExpectedVersion.none(new Charged(id, account, '12.3400')), new Noted(id, 'a charge was made')];

@CommandHandler(Charge)
export class ChargeHandler {
  constructor(
    @InjectEntityManager() readonly manager: EntityManager,
    readonly bus: EventBus,
  ) {}
  async execute(command: Charge): Promise<void> {
    await this.manager.query('UPDATE bench_account SET balance = balance + ? WHERE id = ?', [1, command.account]);
    this.bus.publishAll(events(command));
  }
}

@CommandHandler(ChargeByRepository)
export class ChargeByRepositoryHandler {
  constructor(
    @InjectRepository(Account) readonly accounts: Repository<Account>,
    readonly bus: EventBus,
  ) {}
  async execute(command: ChargeByRepository): Promise<void> {
    await this.accounts.update(command.account, { balance: () => 'balance + 1' });
    this.bus.publishAll(events(command));
  }
}

@Projection('bench.view', { entity: View, version: 1 })
export class ViewProjection {
  @On(Charged) charged(view: View, event: Charged) {
    view.status = 'charged';
    view.amount = event.amount;
    view.changes += 1;
  }
  @On(Noted) noted(view: View, _event: Noted) {
    view.status = 'noted';
    view.changes += 1;
  }
}

export interface BenchPlace {
  readonly url: string;
  readonly redisUrl: string;
  readonly queuePrefix: string;
}

/** `projection` off: the consumer is not there at all, so nothing is woken. */
export async function startLedger(place: BenchPlace, { projection = true, poolSize = 32, ...settings }: TandemSettings & { projection?: boolean; poolSize?: number } = {}) {
  const entities = [Account, View];
  const options = (): DataSourceOptions => ({ type: 'mysql', url: place.url, poolSize, entities, migrations: tandemMigrations(), migrationsRun: true, synchronize: true });
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: options, dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(entities),
      TandemModule.forRoot({ storage: typeOrmStorage(), jobs: bullMqJobs({ connection: place.redisUrl, queuePrefix: place.queuePrefix }), interceptors: [], ...settings }),
    ],
    providers: [ChargeHandler, ChargeByRepositoryHandler, ...(projection ? [ViewProjection] : [])],
  })
  class LedgerModule {}
  const app = await NestFactory.createApplicationContext(LedgerModule, { logger: ['error'] });
  return { app, commands: app.get(CommandBus) };
}
