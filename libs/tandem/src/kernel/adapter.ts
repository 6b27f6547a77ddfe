import type { ModuleMetadata, Provider } from '@nestjs/common';

/**
 * Adapters come in as values, so that the core imports no driver. `providers` fill ports under the port's class as token and
 * may inject each other, `Clock`, `ProcessSettings`, `ConnectionBudget`, and what `imports` export.
 */
interface AdapterValue {
  /** For start-up lines and messages, e.g. `MariaDB 10.11`. No secrets. */
  readonly describe: string;
  readonly imports?: ModuleMetadata['imports'];
  readonly providers: Provider[];
}

/** Fills UnitOfWork, StorageCheck, EventLog, ConsumerStore, DeadLetterStore, JobStore, CommandStore, RowStore, RebuildStore, ShadowTables and PositionSnapshot. */
export interface TandemStorage extends AdapterValue {
  readonly port: 'storage';
}

/** Fills WakeUpTransport, JobTransport and InvalidationChannel. */
export interface TandemJobs extends AdapterValue {
  readonly port: 'jobs';
}

/** Port: asked once before the application serves. */
export abstract class StorageCheck {
  /** @throws TANDEM_SCHEMA_OUTDATED naming the command to run; TANDEM_STORAGE_UNAVAILABLE; TANDEM_WIRING for a data source that cannot carry Tandem. */
  abstract verify(): Promise<void>;
  /** Names this log in consistency tokens: a random id made when the tables were made. Known after `verify`. */
  abstract get logId(): string;
}
