import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus } from '@nestjs/cqrs';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { EventLog, TandemModule, type TandemRole, type TandemStorage } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandem } from 'nest-tandem/testing';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { SqlBackend } from '../../support/backends.js';
import { type BankPlace, bankPlace } from '../../support/bank-application.js';
import type { Transaction } from '../ledger.js';
import type { Seen, Subject } from '../subject.js';
import { proofEntities, proofProviders, Thing, Witness, Write } from './notes.js';
import { inTransaction, PausingLog } from './pausing-log.js';

export interface TandemSubjectOptions {
  readonly things: number;
  /** What a mutant puts in the place of one of the library's parts. */
  readonly change?: (storage: TandemStorage) => TandemStorage;
}

const SETTLE_WITHIN_MS = 300_000;

type Plan = readonly (readonly [role: TandemRole, poolSize: number])[];
/** A connection for each writer; PostgreSQL has 100 for all. */
const SERVERS: Plan = [
  ['api', 32],
  ['worker', 2],
  ['worker', 2],
];
const EMBEDDED: Plan = [['all', 8]];

/** The library, with two workers beside the writers; the embedded default has but one process. */
export class TandemSubject implements Subject {
  private readonly apps: INestApplicationContext[] = [];
  private readonly witness = new Witness();

  private constructor(
    private readonly backend: SqlBackend,
    private readonly place: BankPlace,
    private readonly options: TandemSubjectOptions,
  ) {}

  static async start(backend: SqlBackend, options: TandemSubjectOptions): Promise<TandemSubject> {
    const subject = new TandemSubject(backend, await bankPlace(backend), options);
    const plan = backend.name === 'pglite' ? EMBEDDED : SERVERS;
    for (const [role, poolSize] of plan) await subject.startApplication(role, poolSize);
    await subject.source.getRepository(Thing).insert(Array.from({ length: options.things }, (_, index) => ({ id: `t${index}`, notes: 0 })));
    return subject;
  }

  get source(): DataSource {
    return this.apps[0]!.get(DataSource);
  }

  write(transaction: Transaction): Promise<void> {
    return inTransaction.run(transaction, () => this.apps[0]!.get(CommandBus).execute(new Write(transaction)));
  }

  settled(): Promise<void> {
    return tandem(this.apps.at(-1)!).idle({ timeoutMs: SETTLE_WITHIN_MS });
  }

  async seen(): Promise<Seen[]> {
    const rows = await this.source.query<{ fact: string; times: number }[]>('SELECT fact, times FROM proof_sight ORDER BY n');
    const ids = rows.flatMap(({ fact, times }) => Array.from({ length: times }, () => fact));
    return [
      { keeps: 'causes', ids: this.witness.facts },
      { keeps: 'causes', ids },
    ];
  }

  async end(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.close()));
    await this.place.remove();
  }

  private async startApplication(role: TandemRole, poolSize: number): Promise<void> {
    const { backend, options, place } = this;
    const pausing = { provide: EventLog, useFactory: (source: DataSource) => new PausingLog(source, backend.name === 'mariadb'), inject: [getDataSourceToken()] };
    const storage = withProvider(place.embedded?.storage ?? typeOrmStorage({ queryPoolSize: 0, workerPoolSize: 5 }), pausing);
    const jobs = place.embedded?.jobs ?? bullMqJobs({ connection: place.redisUrl ?? { postgres: place.database!.url }, queuePrefix: place.queuePrefix });
    const useFactory = async (): Promise<DataSourceOptions> => ({
      ...(place.embedded ? await place.embedded.typeOrmOptions() : place.database!.dataSourceOptions),
      ...({ poolSize } as object),
      entities: proofEntities,
      migrations: tandemMigrations(),
      migrationsRun: true,
      synchronize: true,
    });
    const database = [TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource }), TypeOrmModule.forFeature(proofEntities)];
    @Module({
      imports: [...database, TandemModule.forRoot({ storage: options.change?.(storage) ?? storage, jobs, role, interceptors: [], reconcileEveryMs: 200, consumerBackoffMs: 10 })],
      providers: [...proofProviders, { provide: Witness, useValue: this.witness }],
    })
    class ProofModule {}
    this.apps.push(await NestFactory.createApplicationContext(ProofModule, { logger: options.change ? false : ['error'], abortOnError: false }));
  }
}

/** The storage with another provider for one of its ports. */
export function withProvider(storage: TandemStorage, provider: Exclude<TandemStorage['providers'][number], new (...args: never[]) => unknown>): TandemStorage {
  const others = storage.providers.filter((given) => typeof given === 'function' || given.provide !== provider.provide);
  return { ...storage, providers: [...others, provider] };
}
