/** The application under test, as one of its processes. It uses the library as its users do. */
import { Body, Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import mysql from 'mysql2';
import { isTandemError, JobTransport, Projections, TandemModule, type TandemJobs, type TandemSettings, WakeUpTransport } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';
import type { DataSourceOptions } from 'typeorm';
import type { Answer, Asked } from '../asked.js';
import { Account, Move, MoveHandler } from './accounts.js';
import { brokenSettings, brokenStorage } from './broken-rules.js';
import { ConfirmHandler, CountMoveHandler, Effect, Effects, SendMailHandler, StampHandler, Turn } from './jobs.js';
import { JournalLine, JournalProjection } from './journal.js';
import { Order } from './order-events.js';
import { Change, ChangeHandler, OrderSaga, OrderView, OrderViewProjection, Place, PlaceHandler } from './orders.js';
import { Site } from './site.js';
import { followerEntities, followerProviders } from './strategies.js';
import { Tripwires } from './tripwires.js';

const entities = [Account, Order, Effect, Turn, OrderView, JournalLine, ...followerEntities];
const commandOf = (asked: Asked) => (asked.kind === 'move' ? new Move(asked) : asked.kind === 'place' ? new Place(asked) : new Change(asked));

/** As an application would have them, but for times: a run of minutes has to see leases end and retries come. */
const SETTINGS = { interceptors: [], consumerBackoffMs: 50, reconcileEveryMs: 500, jobLeaseMs: 4_000, batchSize: 200 } satisfies TandemSettings;

@Controller()
class CommandController {
  constructor(
    private readonly commands: CommandBus,
    private readonly projections: Projections,
    private readonly site: Site,
  ) {}

  /** Workers do it. */
  @Post('rebuild')
  async rebuild(@Body() { name }: { name: string }): Promise<Answer> {
    return answered(() => this.projections.beginRebuild(name));
  }

  @Post('command')
  async command(@Body() asked: Asked): Promise<Answer> {
    const done = () => this.commands.execute(commandOf(asked));
    if (this.site.mutant !== 'answer-before-commit') return answered(done);
    done().catch(() => undefined);
    return { ok: true };
  }
}

async function answered(work: () => Promise<unknown>): Promise<Answer> {
  try {
    await work();
    return { ok: true };
  } catch (error) {
    return { ok: false, code: isTandemError(error) ? error.code : (error as Error).name, message: String(error) };
  }
}

export interface StartOptions {
  /** Makes the tables first. */
  readonly migrate?: boolean;
}

export async function startApplication(site: Site, tripwires: Tripwires, { migrate = false }: StartOptions = {}): Promise<INestApplication> {
  const dataSource = (): DataSourceOptions => ({
    type: 'mysql',
    url: site.databaseUrl,
    driver: tripwires.watching(mysql as never),
    poolSize: 8,
    entities,
    migrations: tandemMigrations(),
    migrationsRun: migrate,
    synchronize: migrate,
    connectTimeout: 5_000,
  });
  const storage = brokenStorage(typeOrmStorage({ queryPoolSize: 2, workerPoolSize: 6 }), site.mutant);
  const jobs = watchedJobs(bullMqJobs({ connection: site.redisUrl, queuePrefix: 'fault' }), site, tripwires);

  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: () => ({ ...dataSource(), retryAttempts: 1 }), dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(entities),
      TandemModule.forRoot({ storage, jobs, role: site.role, ...SETTINGS, ...brokenSettings(site.mutant) }),
    ],
    controllers: site.role === 'api' ? [CommandController] : [],
    providers: [
      { provide: Site, useValue: site },
      { provide: Tripwires, useValue: tripwires },
      ...[MoveHandler, PlaceHandler, ChangeHandler, OrderSaga, OrderViewProjection, JournalProjection, Effects, ConfirmHandler, CountMoveHandler, SendMailHandler, StampHandler],
      ...followerProviders,
    ],
  })
  class FaultModule {}
  const app = await NestFactory.create(FaultModule, { logger: ['error', 'warn'], abortOnError: false });
  if (site.role === 'api') await app.listen(site.port, '127.0.0.1');
  else await app.init();
  return app;
}

/** The queues of BullMQ, watched: who adds a job is a command on an API, and a saga on a worker. */
function watchedJobs(jobs: TandemJobs, { role }: Site, tripwires: Tripwires): TandemJobs {
  const watched = new Map<unknown, (port: object) => object>([
    [WakeUpTransport, (port) => tripwires.around(port as WakeUpTransport, 'signal', 'wake-up')],
    [JobTransport, (port) => tripwires.around(port as JobTransport, 'add', role === 'api' ? 'queue' : 'saga')],
  ]);
  const providers = jobs.providers.map((provider) => {
    if (typeof provider === 'function' || !('useFactory' in provider)) return provider;
    const watch = watched.get(provider.provide);
    if (!watch) return provider;
    return { ...provider, useFactory: async (...args: unknown[]) => watch((await provider.useFactory(...(args as never[]))) as object) };
  });
  return { ...jobs, providers };
}
