// The front door, names listed by hand. What is not here is not public.

// Module
export { TandemModule } from './tandem.module.js';
export type { TandemAdapters, TandemAsyncOptions, TandemOptions, TandemRole, TandemSettings } from './tandem.options.js';
export type { Identity } from './kernel/request-settings.js';

// Write
export { UnitOfWork, type UnitOfWorkChoice } from './write/command/unit-of-work.decorator.js';
export { Idempotency } from './write/command/command-id.js';
export { IDEMPOTENCY_KEY_HEADER } from './write/command/idempotency-key.interceptor.js';
export { afterCommit } from './kernel/after-commit.js';
export { DurableSaga, type DurableSagaOptions, type SagaOutput, type SagaOutputs } from './write/saga/durable-saga.js';
export { QueuedCommand, type QueuedCommandOptions } from './jobs/queued-command.js';
export { DurableJobs, type Enqueued, type EnqueueOptions } from './jobs/durable-jobs.js';
export { ExternalJob, type ExternalJobOptions } from './jobs/external-job.js';
export type { JobChange } from './jobs/job-store.js';

// Events
export { DomainEvent, type DomainEventOptions, type StreamName } from './events/domain-event.js';
export { ExpectedVersion } from './events/expected-version.js';
export type { EventMetadata, Position } from './events/event-log.js';
export { type HistoryCounts, HistoryImport, type HistoryItem, type HistoryRun } from './events/history-import.js';
export { type KeyOf, On, type OnOptions, type RowKey } from './events/on.js';
export { Durable, type DurableOptions } from './events/durable.js';
export { type ConsumerOverview, Consumers } from './events/consumers.js';
export type { Retired } from './events/retired.js';
export { DeadLetters, type InspectedDeadLetter } from './events/dead-letters.js';
export type { DeadLetter, DeadLetterState } from './events/dead-letter-store.js';

// Read
export { Projection, type ProjectionOptions } from './read/projection/projection.js';
export type { ProjectionContext } from './read/projection/free-projection.js';
export { Projections, type RebuildOptions, type RebuildResult } from './read/projection/rebuild/projections.js';
export type { Pace, ProjectionStatus, RebuildProgress } from './read/projection/rebuild/projection-status.js';
export { Delta } from './read/projection/delta.js';
export { OnDelta, type OnDeltaOptions } from './read/projection/on-delta.js';
export { type BatchedOptions, type ScheduledOptions, SyncStrategy } from './read/projection/sync-strategy.js';
export { Reads } from './read/query/reads.js';
export { CacheResult, type CacheResultOptions } from './read/query-cache/cache-result.js';

// Consistency
export { Consistency, type ReadYourWritesOptions, type StrongContext, type StrongOptions } from './consistency/consistency.js';
export { ConsistencyChecker } from './consistency/consistency-checker.js';
export { ConsistencyGuarantor, type WaitOptions } from './consistency/consistency-guarantor.js';
export { ConsistencyLevel } from './consistency/consistency-level.js';
export { type ConsistencyReport, consistencyText, type RuleResult } from './consistency/consistency-report.js';
export { ConsistencyRule, RowCountRule, type RowCounts } from './consistency/consistency-rule.js';
export { CONSISTENCY_TOKEN_HEADER } from './consistency/consistency-token.interceptor.js';
export { RetryPolicy, type RetryPolicyOptions } from './consistency/retry-policy.js';

// Telemetry
export { LoggingInterceptor } from './telemetry/logging.interceptor.js';
export { MetricsInterceptor } from './telemetry/metrics.interceptor.js';
export { type Execution, PerformanceAnalyzer } from './telemetry/performance-analyzer.js';
export { type PerformanceReport, type QueryTiming, reportText, type Timing } from './telemetry/performance-report.js';
export { ValidateWith } from './telemetry/validate-with.js';
export { ValidationInterceptor } from './telemetry/validation.interceptor.js';
export type { Violation } from './telemetry/violations.js';

// Messages and errors
export { Clock } from './kernel/clock.js';
export { type CommandId, MessageContext, type MessageFacts } from './kernel/message-context.js';
export { ERROR_CATALOGUE, isTandemError, OptimisticConcurrencyError, TandemError, type TandemErrorCode, type TandemErrorDetails } from './kernel/errors.js';
export { HandlerNotFound } from './kernel/handler-not-found.js';
/** Opens units of work by hand; the decorator of handlers is `UnitOfWork`. */
export { type Unit, type UnitKind, UnitOfWork as UnitOfWorkRunner, type UnitOptions } from './kernel/unit-of-work.js';

// Ports, for adapters of others
export { type CommitStep, scopes, unitClosed, type UnitScope } from './kernel/unit-of-work.js';
export { StorageCheck, type TandemJobs, type TandemStorage } from './kernel/adapter.js';
export {
  type Checkpoint,
  type Claim,
  type ClaimRequest,
  type ConsumerRegistration,
  type ConsumerState,
  type ConsumerStatus,
  ConsumerStore,
  type Positions,
  type RegisteredConsumer,
} from './events/consumer-store.js';
export { DeadLetterStore, type LetterFilter, type NewDeadLetter } from './events/dead-letter-store.js';
export {
  type AppendedEvent,
  type CountRequest,
  type Counts,
  type EventAt,
  type EventKey,
  EventLog,
  type Heads,
  type InlineTexts,
  type PendingEvent,
  type ReadKey,
  shardOf,
  SHARDS,
  type ShardRange,
  type StoredEvent,
  type StreamRange,
  type StreamRead,
  type StreamVersions,
} from './events/event-log.js';
export type { StorageTypes } from './events/storage-types.js';
export type { BatchedRuns, RunCondition, Schedule, ScheduledRuns, Waiting } from './events/run-condition.js';
export { type ScheduledWakeUps, type WakeUp, WakeUpTransport } from './events/wake-up-transport.js';
export { type ChangedJob, type ClaimedJob, type DelayedTicket, type JobState, JobStore, type JobSummary, type JobTicket, type NewJob } from './jobs/job-store.js';
export { CommandStore, type NewCommand, type RecordedCommand } from './write/command/command-store.js';
export type { CommandKey, CommandOutcome } from './events/command-outcome.js';
export type { WrittenPositions } from './events/written.js';
export { type ForeignJob, JobTransport, type NewTicket } from './jobs/job-transport.js';
export {
  type Allowed,
  type NewRebuild,
  type Rebuild,
  type RebuildState,
  RebuildStore,
  type ShadowModel,
  type ShadowTable,
  ShadowTables,
  type SwapRequest,
  type SwapResult,
} from './read/projection/rebuild/rebuild-store.js';
export { type KeyValues, type RowChange, type RowChanges, type RowDelta, type RowShape, RowStore } from './read/projection/row-store.js';
export { InvalidationChannel } from './read/query-cache/invalidation-channel.js';
export { type AtOnePosition, type BothSides, type DrainTo, PositionSnapshot } from './consistency/position-snapshot.js';
