import type { CanActivate, FactoryProvider, ModuleMetadata, NestInterceptor, PipeTransform, Type } from '@nestjs/common';
import type { CqrsModuleOptions } from '@nestjs/cqrs';
import type { TandemJobs, TandemStorage } from './kernel/adapter.js';
import { noSuchOption } from './kernel/known-options.js';
import type { Retired } from './events/retired.js';
import { HANDLER_TIMEOUT_MS } from './kernel/in-time.js';
import type { Identity } from './kernel/request-settings.js';
import { SYNC_KINDS, type SyncStrategy } from './read/projection/sync-strategy.js';
import { LoggingInterceptor } from './telemetry/logging.interceptor.js';

export type TandemRole = 'all' | 'api' | 'worker';

export interface TandemAdapters {
  readonly storage: TandemStorage;
  readonly jobs: TandemJobs;
}

export interface TandemSettings {
  /** `api` takes commands and queries, `worker` runs projections, sagas and jobs, `all` does both. Default `all`. */
  readonly role?: TandemRole;
  /** `all`: every command handler runs in a unit of work unless it says `@UnitOfWork('none')`. `opt-in`: only those with `@UnitOfWork({…})`. Default `all`. */
  readonly unitOfWork?: 'all' | 'opt-in';
  /** Whether wiring mistakes refuse the start or are only logged. Default `throw`. */
  readonly wiringErrors?: 'throw' | 'warn';
  /** Whether APP_GUARD, APP_INTERCEPTOR and APP_PIPE also run around handlers. Default false: they expect HTTP. */
  readonly inheritGlobalEnhancers?: boolean;
  /** Who acts, and for whom, in an HTTP request. Default: nobody is known. */
  readonly identity?: Identity;
  /** Around every command, query and event handler, outermost first. Default `[LoggingInterceptor]`. */
  readonly interceptors?: readonly Type<NestInterceptor>[];
  /** Before every command, query and event handler. Default none. */
  readonly guards?: readonly Type<CanActivate>[];
  /** On every command, query and event. Default none. */
  readonly pipes?: readonly Type<PipeTransform>[];
  /** Passed on to `CqrsModule.forRoot`. */
  readonly cqrs?: CqrsModuleOptions;
  /** Events in one batch of a consumer, at most. Default 1,000. */
  readonly batchSize?: number;
  /** Payload bytes in one batch, at most (one event always fits). Default 8 MiB. */
  readonly batchBytes?: number;
  /** How often a worker looks in SQL for what no wake-up told it, in milliseconds; up to five times slower while idle. A process that keeps cached answers compares them with the checkpoints as often. Default 1,000. */
  readonly reconcileEveryMs?: number;
  /** Under load a consumer is woken at most this often, in milliseconds; the less there is to do, the sooner, and alone at once. Default 25. */
  readonly wakeUpWindowMs?: number;
  /** How often a failed event is tried before its stream is parked. Default 5. */
  readonly consumerAttempts?: number;
  /** First pause before a failed event is tried again, doubled each time, full jitter, at most 5 minutes. Default 500. */
  readonly consumerBackoffMs?: number;
  /**
   * A method of a projection or saga (its promise, or the Observable of a saga) must settle within this many milliseconds, or its event has failed.
   * Default 8,000; keep it below `idleTimeoutMs` of the storage, which otherwise ends the idle transaction first: then the batch is only repeated.
   */
  readonly handlerTimeoutMs?: number;
  /**
   * Consumers and event types that the code has given up: `{ consumers: ['orders.old-view'], types: { 'orders.order-view': ['order.archived'] } }`. Default none.
   * A consumer that was registered more than a day ago and vanished refuses the start until it stands here; one that lost an event type does not run until that stands here.
   */
  readonly retired?: Retired;
  /**
   * Projection → its sync strategy, instead of the one in its code: `{ 'sales.by-country': SyncStrategy.scheduled({ everyMs: 60_000 }) }`. Default none.
   * It may differ from process to process, as in a rolling restart.
   */
  readonly syncStrategies?: Readonly<Record<string, SyncStrategy>>;
  /**
   * What a worker does at start where a projection's `version` is higher than that of the code which made its rows. `automatic`: it is rebuilt beside the live rows, which are served and kept
   * up to date meanwhile. `manual`: it is only told, with the call to make. Default `automatic`.
   */
  readonly rebuild?: 'automatic' | 'manual';
  /** A job whose worker does not renew its lease for this long goes to another worker, in milliseconds. Default 10,000. */
  readonly jobLeaseMs?: number;
  /** Done and discarded jobs are kept this long, in milliseconds. Default 7 days. */
  readonly keepDoneJobsMs?: number;
  /** A command id is kept this long, with what its command answered, in milliseconds; after that a repeat is a new command. Default 7 days. */
  readonly keepCommandIdsMs?: number;
  /**
   * Of each queue BullMQ holds at most about this many tickets, one for each job, or for each batch of a command with `batchSize`; of a longer one the rest stays in SQL, and workers hand over by
   * priority, then the oldest first, as it is worked off. Default 10,000.
   */
  readonly maxQueuedTickets?: number;
  /** At shutdown, running batches and jobs may take this long, in milliseconds. Default 10,000. */
  readonly drainTimeoutMs?: number;
}

export interface TandemOptions extends TandemAdapters, TandemSettings {}

/** Adapters are named at once, settings may come from what the factory injects. */
export interface TandemAsyncOptions extends TandemAdapters, Pick<ModuleMetadata, 'imports'> {
  readonly inject?: FactoryProvider['inject'];
  // The parameters are what `inject` names, which TypeScript cannot follow.
  readonly useFactory: (...injected: never[]) => TandemSettings | Promise<TandemSettings>;
}

/** Settings with their defaults, as providers inject them. */
export const TANDEM_SETTINGS = Symbol('tandem:settings');

/** What may be left out: there is no default that means the same. */
type Unset = 'identity' | 'cqrs';

export type ResolvedSettings = Readonly<Required<Omit<TandemSettings, Unset>>> & {
  readonly [K in Unset]: TandemSettings[K];
} & {
  /** Unknown or wrong options, which the defaults stand in for. */
  readonly problems: readonly string[];
};

const DEFAULTS: Required<Omit<TandemSettings, Unset>> = {
  role: 'all',
  unitOfWork: 'all',
  wiringErrors: 'throw',
  inheritGlobalEnhancers: false,
  interceptors: [LoggingInterceptor],
  guards: [],
  pipes: [],
  batchSize: 1_000,
  batchBytes: 8 * 1_024 * 1_024,
  reconcileEveryMs: 1_000,
  wakeUpWindowMs: 25,
  consumerAttempts: 5,
  consumerBackoffMs: 500,
  handlerTimeoutMs: HANDLER_TIMEOUT_MS,
  retired: {},
  syncStrategies: {},
  rebuild: 'automatic',
  jobLeaseMs: 10_000,
  keepDoneJobsMs: 7 * 24 * 60 * 60 * 1_000,
  keepCommandIdsMs: 7 * 24 * 60 * 60 * 1_000,
  maxQueuedTickets: 10_000,
  drainTimeoutMs: 10_000,
};

interface Expectation {
  readonly what: string;
  readonly holds: (value: unknown) => boolean;
}

const oneOf = (...values: readonly string[]): Expectation => ({
  what: `one of ${values.map((value) => `'${value}'`).join(', ')}`,
  holds: (value) => values.includes(value as string),
});
const wholeNumber = (from: number): Expectation => ({ what: `a whole number from ${from}`, holds: (value) => Number.isSafeInteger(value) && (value as number) >= from });
const classes: Expectation = { what: 'a list of classes', holds: (value) => Array.isArray(value) && value.every((entry) => typeof entry === 'function') };
const ofType = (type: 'boolean' | 'function' | 'object'): Expectation => ({
  what: `${type === 'object' ? 'an' : 'a'} ${type}`,
  holds: (value) => typeof value === type && value !== null,
});

const areNames = (value: unknown): boolean => Array.isArray(value) && value.every((entry) => typeof entry === 'string');

function isRetired(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { consumers = [], types = {}, ...rest } = value as Record<string, unknown>;
  return Object.keys(rest).length === 0 && areNames(consumers) && typeof types === 'object' && types !== null && Object.values(types).every(areNames);
}

const areStrategies = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((each) => SYNC_KINDS.includes((each as { kind?: unknown } | null)?.kind as SyncStrategy['kind']));

const EXPECTED: Record<keyof TandemSettings, Expectation> = {
  role: oneOf('all', 'api', 'worker'),
  unitOfWork: oneOf('all', 'opt-in'),
  wiringErrors: oneOf('throw', 'warn'),
  inheritGlobalEnhancers: ofType('boolean'),
  identity: ofType('function'),
  interceptors: classes,
  guards: classes,
  pipes: classes,
  cqrs: ofType('object'),
  batchSize: wholeNumber(1),
  batchBytes: wholeNumber(1),
  reconcileEveryMs: wholeNumber(1),
  wakeUpWindowMs: wholeNumber(0),
  consumerAttempts: wholeNumber(1),
  consumerBackoffMs: wholeNumber(0),
  handlerTimeoutMs: wholeNumber(1),
  retired: { what: "{ consumers?: ['name'], types?: { 'consumer': ['type'] } }", holds: isRetired },
  syncStrategies: { what: "{ 'projection': SyncStrategy.… }", holds: areStrategies },
  rebuild: oneOf('automatic', 'manual'),
  jobLeaseMs: wholeNumber(100),
  keepDoneJobsMs: wholeNumber(0),
  keepCommandIdsMs: wholeNumber(0),
  maxQueuedTickets: wholeNumber(1),
  drainTimeoutMs: wholeNumber(0),
};

/** Fills in the defaults. Unknown and wrong options are named in `problems` and left out, so that all mistakes can be told at once. */
export function resolveSettings(given: TandemSettings): ResolvedSettings {
  const problems: string[] = [];
  const taken: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given).filter(([, option]) => option !== undefined)) {
    const expected = Object.hasOwn(EXPECTED, name) ? EXPECTED[name as keyof TandemSettings] : undefined;
    if (!expected) problems.push(noSuchOption('TandemModule', name, Object.keys(EXPECTED)));
    else if (!expected.holds(value)) problems.push(`option \`${name}\` of TandemModule is ${shown(value)}, expected ${expected.what}`);
    else taken[name] = value;
  }
  return Object.freeze({ identity: undefined, cqrs: undefined, ...DEFAULTS, ...taken, problems });
}

/** Enough to find the mistake; never what an object holds. */
function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value === null ? 'null' : `of type ${Array.isArray(value) ? 'list' : typeof value}`;
}
