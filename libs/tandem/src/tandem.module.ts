import {
  type DynamicModule,
  type FactoryProvider,
  Global,
  Inject,
  Module,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  Optional,
  type Provider,
  type Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR, DiscoveryModule } from '@nestjs/core';
import { CommandBus, CqrsModule, EventBus, QueryBus } from '@nestjs/cqrs';
import { Clock } from './kernel/clock.js';
import { DispatchAround } from './kernel/dispatch-around.js';
import { TandemError } from './kernel/errors.js';
import { HandlerPipeline } from './kernel/handler-pipeline.js';
import { knownOptions } from './kernel/known-options.js';
import { MessageContext } from './kernel/message-context.js';
import { ConnectionBudget } from './kernel/connection-budget.js';
import { PipelineSettings } from './kernel/pipeline-settings.js';
import { ProcessSettings } from './kernel/process-settings.js';
import { ApplicationMap, TANDEM_BUSES } from './kernel/registry/application-map.js';
import { RequestContextInterceptor } from './kernel/request-context.interceptor.js';
import { RequestSettings } from './kernel/request-settings.js';
import { ConsumerRegistry } from './events/consumer-registry.js';
import { ConsumerRuntime } from './events/consumer-runtime.js';
import { ConsumerSettings } from './events/consumer-settings.js';
import { Consumers } from './events/consumers.js';
import { DeadLetters } from './events/dead-letters.js';
import { DurableHandlers } from './events/durable-handlers.js';
import { EventCapture } from './events/event-capture.js';
import { ForcedRuns } from './events/forced-runs.js';
import { HistoryImport } from './events/history-import.js';
import { TandemEventBus } from './events/tandem-event-bus.js';
import { WakeUps } from './events/wake-ups.js';
import { DurableJobs } from './jobs/durable-jobs.js';
import { JobOutbox } from './jobs/job-outbox.js';
import { JobRuntime } from './jobs/job-runtime.js';
import { JobSettings } from './jobs/job-settings.js';
import { ProjectionStatuses } from './read/projection/rebuild/projection-status.js';
import { Projections } from './read/projection/rebuild/projections.js';
import { RebuildWorkers } from './read/projection/rebuild/rebuild-workers.js';
import { CacheInvalidation } from './read/query-cache/cache-invalidation.js';
import { CacheReconciler } from './read/query-cache/cache-reconciler.js';
import { QueryCache } from './read/query-cache/query-cache.js';
import { FreshRead } from './read/query/fresh-read.js';
import { TandemQueryBus } from './read/query/query-bus.js';
import { QueryPath } from './read/query/query-path.js';
import { TandemCommandBus } from './write/command/command-bus.js';
import { CommandIdSweep } from './write/command/command-id-sweep.js';
import { CommandIds } from './write/command/command-ids.js';
import { CommandSettings } from './write/command/command-settings.js';
import { IdempotencyKeyInterceptor } from './write/command/idempotency-key.interceptor.js';
import { ConsistencyChecker } from './consistency/consistency-checker.js';
import { ConsistencyGuarantor } from './consistency/consistency-guarantor.js';
import { ConsistencyTokenInterceptor } from './consistency/consistency-token.interceptor.js';
import { Freshness } from './consistency/freshness.js';
import { ReadSide } from './consistency/read-side.js';
import { SnapshotFreshRead } from './consistency/snapshot-fresh-read.js';
import { StrongDispatch } from './consistency/strong-dispatch.js';
import { LoggingInterceptor } from './telemetry/logging.interceptor.js';
import { MetricsInterceptor } from './telemetry/metrics.interceptor.js';
import { PerformanceAnalyzer } from './telemetry/performance-analyzer.js';
import { ValidationInterceptor } from './telemetry/validation.interceptor.js';
import {
  type ResolvedSettings,
  resolveSettings,
  TANDEM_SETTINGS,
  type TandemAdapters,
  type TandemAsyncOptions,
  type TandemOptions,
  type TandemSettings,
} from './tandem.options.js';
import { TandemStartup } from './tandem.startup.js';

const ASYNC_OPTIONS: Readonly<Record<keyof TandemAsyncOptions, true>> = { storage: true, jobs: true, imports: true, inject: true, useFactory: true };

const SETTINGS_OF_ROOMS: readonly (abstract new () => object)[] = [ProcessSettings, PipelineSettings, RequestSettings, CommandSettings, ConsumerSettings, JobSettings];

/** What applications may inject, and what their interceptors and Tandem's other entry points need. */
const SERVICES: readonly Type<object>[] = [
  Clock,
  ConnectionBudget,
  MessageContext,
  HandlerPipeline,
  ApplicationMap,
  ConsumerRegistry,
  EventCapture,
  WakeUps,
  ConsumerRuntime,
  ForcedRuns,
  Consumers,
  DurableHandlers,
  DeadLetters,
  HistoryImport,
  JobOutbox,
  DurableJobs,
  JobRuntime,
  CommandIds,
  CommandIdSweep,
  QueryCache,
  CacheInvalidation,
  CacheReconciler,
  RebuildWorkers,
  ProjectionStatuses,
  Projections,
  QueryPath,
  ReadSide,
  Freshness,
  ConsistencyGuarantor,
  ConsistencyChecker,
  PerformanceAnalyzer,
  LoggingInterceptor,
  MetricsInterceptor,
  ValidationInterceptor,
  TandemStartup,
];

const PORTS_INSIDE: readonly Provider[] = [
  { provide: FreshRead, useClass: SnapshotFreshRead },
  { provide: DispatchAround, useClass: StrongDispatch },
];

/** In this order: the others read the notes of the message that the first begins. */
const HTTP_INTERCEPTORS: readonly Provider[] = [
  { provide: APP_INTERCEPTOR, useClass: RequestContextInterceptor },
  { provide: APP_INTERCEPTOR, useClass: ConsistencyTokenInterceptor },
  { provide: APP_INTERCEPTOR, useClass: IdempotencyKeyInterceptor },
];

/** Nest starts global modules in the order of their import and ends them in reverse: work begins when CqrsModule has bound the handlers, and ends first. */
@Global()
@Module({})
class TandemWork implements OnApplicationBootstrap, OnModuleDestroy {
  constructor(private readonly startup: TandemStartup) {}

  onApplicationBootstrap(): Promise<void> {
    return this.startup.start();
  }

  onModuleDestroy(): Promise<void> {
    return this.startup.stop();
  }
}

/** The one module with settings has it, and only for itself. */
const SETTINGS_ARE_HERE = Symbol('tandem:settings-are-here');

/**
 * Makes @nestjs/cqrs durable. Import it with `forRoot` once, in the application's root module; it is global. Feature modules list their handlers,
 * sagas, projections and rules as providers; where they imported CqrsModule they import TandemModule as it stands, or nothing.
 */
@Module({})
export class TandemModule implements OnApplicationBootstrap {
  constructor(@Optional() @Inject(SETTINGS_ARE_HERE) private readonly startup?: TandemStartup) {}

  /** @throws TANDEM_WIRING for a missing adapter; every other mistake is told at start-up. */
  static forRoot(options: TandemOptions): DynamicModule {
    const { storage, jobs, ...settings } = options;
    return tandem({ storage, jobs }, { useFactory: () => settings });
  }

  /** As `forRoot`, with settings from what the factory injects. @throws TANDEM_WIRING for an unknown option too. */
  static forRootAsync(options: TandemAsyncOptions): DynamicModule {
    const { storage, jobs, imports, inject, useFactory } = knownOptions('TandemModule.forRootAsync', options, ASYNC_OPTIONS);
    return tandem({ storage, jobs }, { inject, useFactory: useFactory as FactoryProvider<TandemSettings>['useFactory'] }, imports);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.startup?.prepare();
  }
}

function tandem(
  { storage, jobs }: TandemAdapters,
  settings: Pick<FactoryProvider<TandemSettings>, 'inject' | 'useFactory'>,
  imports: DynamicModule['imports'] = [],
): DynamicModule {
  checkAdapter('storage', storage);
  checkAdapter('jobs', jobs);
  const providers: Provider[] = [
    { provide: TANDEM_SETTINGS, inject: settings.inject ?? [], useFactory: async (...injected: unknown[]) => resolveSettings(await settings.useFactory(...injected)) },
    ...SETTINGS_OF_ROOMS.map((room) => ({ provide: room, useExisting: TANDEM_SETTINGS })),
    ...SERVICES,
    ...PORTS_INSIDE,
    ...storage.providers,
    ...jobs.providers,
  ];
  return {
    module: TandemModule,
    global: true,
    imports: [DiscoveryModule, ...imports, ...(storage.imports ?? []), ...(jobs.imports ?? []), buses(), TandemWork],
    providers: [...providers, ...HTTP_INTERCEPTORS, { provide: SETTINGS_ARE_HERE, useExisting: TandemStartup }],
    exports: providers.map((provider) => (typeof provider === 'function' ? provider : provider.provide)),
  };
}

/** CqrsModule's own dynamic module with Tandem's buses: it goes on discovering and binding the handlers. */
function buses(): DynamicModule {
  const base = CqrsModule.forRootAsync({ inject: [TANDEM_SETTINGS], useFactory: ({ cqrs }: ResolvedSettings) => cqrs ?? {} });
  return {
    ...base,
    providers: [
      ...(base.providers ?? []),
      { provide: TANDEM_BUSES, useValue: true },
      { provide: CommandBus, useClass: TandemCommandBus },
      { provide: QueryBus, useClass: TandemQueryBus },
      { provide: EventBus, useClass: TandemEventBus },
    ],
  };
}

function checkAdapter(port: 'storage' | 'jobs', adapter: { readonly port: string } | undefined): void {
  if (adapter?.port === port) return;
  const found = adapter === undefined ? 'is missing' : `is ${adapter.port ? `a ${adapter.port} adapter` : 'no adapter'}`;
  throw new TandemError('TANDEM_WIRING', `The option \`${port}\` of TandemModule ${found}`, {
    next: port === 'storage' ? 'Give it typeOrmStorage(…).' : 'Give it bullMqJobs(…), or use embedded(…) for both.',
  });
}
