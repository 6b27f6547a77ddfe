/** Starts the same application on @nestjs/cqrs alone and on Tandem. */
import { type DynamicModule, type INestApplication, type ModuleMetadata } from '@nestjs/common';
import { CommandBus, CqrsModule, type CqrsModuleOptions, EventBus, QueryBus, UnhandledExceptionBus } from '@nestjs/cqrs';
import { Test, type TestingModuleBuilder } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { type TandemAdapters, TandemModule } from 'nest-tandem';
import { embedded } from 'nest-tandem/embedded';
import { tandemDataSource, tandemMigrations } from 'nest-tandem/typeorm';
import { memoryAdapters } from '../../support/memory-adapters.js';
import { PGLITE_SNAPSHOT } from '../../support/pglite-server.js';
import { cinema, type CqrsImports } from './cinema.js';
import { Journal } from './journal.js';

export interface StartOptions {
  /** On a database; else in memory, where only wiring is looked at. */
  readonly stored?: boolean;
  readonly cqrs?: CqrsModuleOptions;
  /** The options come from a factory. */
  readonly byFactory?: boolean;
  readonly extra?: Pick<ModuleMetadata, 'providers'>;
  readonly change?: (builder: TestingModuleBuilder) => TestingModuleBuilder;
  readonly beforeInit?: (run: Running) => unknown;
}

export interface Running {
  readonly app: INestApplication;
  readonly commands: CommandBus;
  readonly queries: QueryBus;
  readonly events: EventBus;
  /** Lines that Tandem has logged. */
  readonly logged: string[];
  readonly unhandled: { readonly cause: unknown; readonly exception: unknown }[];
  readonly journal: string[];
}

/** What the application's modules import. */
export interface Side {
  readonly kind: 'cqrs' | 'all' | 'opt-in';
  readonly name: string;
  imports(options: StartOptions): CqrsImports;
  remove(): Promise<void>;
}

export const bare = (): Side => ({
  kind: 'cqrs',
  name: '@nestjs/cqrs',
  // With options CqrsModule is global, and a second import would make second buses.
  imports: ({ cqrs, byFactory }) =>
    cqrs ? { root: [byFactory ? CqrsModule.forRootAsync({ useFactory: () => cqrs }) : CqrsModule.forRoot(cqrs)], feature: [] } : { root: [CqrsModule], feature: [CqrsModule] },
  remove: () => Promise.resolve(),
});

export function onTandem(unitOfWork: 'all' | 'opt-in'): Side {
  const place = embedded({ dataDir: 'memory://', snapshotFile: PGLITE_SNAPSHOT });
  const useFactory = async () => ({ ...(await place.typeOrmOptions()), migrations: tandemMigrations(), migrationsRun: true });
  const database = () => TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource });
  const tandem = ({ storage, jobs }: TandemAdapters, { cqrs, byFactory }: StartOptions): DynamicModule =>
    byFactory ? TandemModule.forRootAsync({ storage, jobs, useFactory: () => ({ unitOfWork, cqrs }) }) : TandemModule.forRoot({ storage, jobs, unitOfWork, cqrs });
  return {
    kind: unitOfWork,
    name: `Tandem with unitOfWork ${unitOfWork}`,
    imports: (options) => ({ root: options.stored ? [database(), tandem(place, options)] : [tandem(memoryAdapters(), options)], feature: [TandemModule] }),
    remove: () => place.close(),
  };
}

export async function start(side: Side, { change = (builder) => builder, ...options }: StartOptions): Promise<Running> {
  const logged: string[] = [];
  const note = (message: unknown, context?: unknown) => void (context === 'Tandem' && logged.push(String(message)));
  const logger = { log: note, warn: note, error: note };
  const module = await change(Test.createTestingModule({ imports: [cinema(side.imports(options), options.extra)] }))
    .setLogger(logger)
    .compile();
  const app = module.createNestApplication({ logger });
  const unhandled: Running['unhandled'] = [];
  app.get(UnhandledExceptionBus).subscribe((info) => void unhandled.push(info as Running['unhandled'][number]));
  const run = { app, commands: app.get(CommandBus), queries: app.get(QueryBus), events: app.get(EventBus), logged, unhandled, journal: app.get(Journal).lines };
  await options.beforeInit?.(run);
  await app.init();
  return run;
}
