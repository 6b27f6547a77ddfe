/** What the benchmarks run on Tandem: one UPDATE and two events a command, and one row projection. */
import { createWriteStream } from 'node:fs';
import { devNull } from 'node:os';
import { type LoggerService, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus, Query, QueryHandler } from '@nestjs/cqrs';
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

/** Answered at once: what is left is the bus. */
export class Ask extends Query<number> {}

@QueryHandler(Ask)
export class AskHandler {
  execute(): Promise<number> {
    return Promise.resolve(1);
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

/** Lines as text to a stream, as loggers of production write them. */
function lineLogger(): LoggerService {
  const out = createWriteStream(devNull);
  const line = (message: unknown, context: unknown) => out.write(`${new Date().toISOString()} ${String(context)} ${String(message)}\n`);
  return { log: line, warn: line, error: line };
}

interface LedgerSettings extends TandemSettings {
  /** Off: the consumer is not there at all, so nothing is woken. */
  readonly projection?: boolean;
  /** Besides what is there. */
  readonly providers?: readonly Type[];
  readonly poolSize?: number;
  /** Lines of the log are really written. */
  readonly log?: boolean;
}

export async function startLedger(place: BenchPlace, { projection = true, providers = [], poolSize = 32, log = false, ...settings }: LedgerSettings = {}) {
  const entities = [Account, View];
  const options = (): DataSourceOptions => ({ type: 'mysql', url: place.url, poolSize, entities, migrations: tandemMigrations(), migrationsRun: true, synchronize: true });
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: options, dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(entities),
      TandemModule.forRoot({ storage: typeOrmStorage(), jobs: bullMqJobs({ connection: place.redisUrl, queuePrefix: place.queuePrefix }), interceptors: [], ...settings }),
    ],
    providers: [ChargeHandler, ChargeByRepositoryHandler, AskHandler, ...(projection ? [ViewProjection] : []), ...providers],
  })
  class LedgerModule {}
  const app = await NestFactory.createApplicationContext(LedgerModule, { logger: log ? lineLogger() : ['error'] });
  return { app, commands: app.get(CommandBus) };
}
