/**
 * Every error that Tandem raises on purpose is a {@link TandemError}: a stable code to handle it by, a message that says
 * what happened, and (from this catalogue, unless the message already does) what to do next. Handle by `code`, never by message.
 */
export const ERROR_CATALOGUE = {
  TANDEM_HANDLER_NOT_FOUND: 'List the handler as a provider of a module that the application imports.',
  TANDEM_WIRING: 'Correct the modules, classes or options that the message names; `wiringErrors: "warn"` only reports them.',
  TANDEM_VALIDATION: 'Correct the fields listed in `data.violations` and send the message again.',
  TANDEM_CONCURRENCY_CONFLICT: 'Usually two commands ran at once: load the current state and send the command again.',
  TANDEM_SECOND_CONNECTION: 'Use the injected repository or EntityManager, or run the code with `unitOfWork.outside(() => …)`.',
  TANDEM_OTHER_DATA_SOURCE: 'A unit of work commits on one data source: move the write there, or do it in a queued command.',
  TANDEM_UNIT_OF_WORK_CLOSED: 'Await the promise inside the handler, or run late work with `unitOfWork.outside(() => …)`.',
  TANDEM_UNIT_OF_WORK_DOOMED: 'The database ended the transaction; let the error through, and Tandem repeats the handler where that is safe.',
  TANDEM_UNIT_OF_WORK_STUCK:
    "Wait for other systems before or after the unit of work, or in a handler with `@UnitOfWork('none')`: while it is open it holds a connection and locks.",
  TANDEM_UNIT_OF_WORK_REQUIRED: 'Call it inside a command handler, or inside `unitOfWork.run(…)`.',
  TANDEM_QUERY_WROTE: 'A query only reads: move the change into a command.',
  TANDEM_DDL_REFUSED: 'Change the schema in a migration: DDL would commit the transaction half-way.',
  TANDEM_STREAM_OPEN: 'Read the stream to its end first: a unit of work has one connection.',
  TANDEM_STATEMENT_INVALID: 'Correct the statement or its parameters: this is a mistake in the code that sends it.',
  TANDEM_ACQUIRE_TIMEOUT: 'Raise the pool size, or look for handlers that hold a connection for long.',
  TANDEM_CONTENTION: 'Nothing was written. Send the command again; where it happens often, look for what holds its rows for long.',
  TANDEM_COMMIT_FAILED: 'The database rolled the transaction back at COMMIT; nothing was written. Send the command again.',
  TANDEM_COMMIT_UNKNOWN: 'The connection was lost during COMMIT: it may have happened or not. Repeat it with the same command id, or check before you repeat it without one.',
  TANDEM_COMMAND_ID_INVALID: 'Send 1 to 128 letters, digits and ._:@/+=-, beginning with a letter or digit: a UUID for example.',
  TANDEM_COMMAND_ID_CONFLICT: 'Send a new command with a new id; repeat an old one as it was.',
  TANDEM_COMMAND_ID_REFUSED: 'Send it without an id, or let its handler run in a unit of work on the data source of the log.',
  TANDEM_COMMAND_IN_PROGRESS: 'The same command is still being handled: repeat it a little later, with the same id.',
  TANDEM_STORAGE_UNAVAILABLE: 'The database does not answer; the message may be sent again when it is back.',
  TANDEM_SCHEMA_OUTDATED: 'Run the pending migrations before you start the application.',
  TANDEM_SCHEMA_NEWER: 'Start the version of Tandem that the schema was migrated with, or a later one.',
  TANDEM_PAYLOAD_REFUSED: 'Change the value at the path that the message names to something that JSON carries unharmed.',
  TANDEM_EVENT_UNKNOWN: 'Deploy the code that knows this event type or schema version before the code that writes it.',
  TANDEM_EVENT_OUTSIDE_COMMAND: 'Projections and sagas only read the log; let a saga return a command that publishes the event.',
  TANDEM_HISTORY_REFUSED: 'Correct the item that the message names, or the source that yields it, and run the import again: what was imported is passed over.',
  TANDEM_HISTORY_CONFLICT: 'Leave the item out, or give its events a stream that has none yet; what was imported before stays, and nothing of this chunk was written.',
  TANDEM_HISTORY_CANCELLED: 'What was imported stays; run the import again, with the same source and keys, and it goes on from there.',
  TANDEM_REBUILD_REFUSED: 'Correct what the message names and call rebuild again; the live rows are as they were.',
  TANDEM_REBUILD_BLOCKED: 'Mend what the message names, then call rebuild again: it goes on where it stands. Until then the live rows are served.',
  TANDEM_REBUILD_RUNNING: 'Wait until the rebuild has ended (`status` of Projections tells), or cancel it.',
  TANDEM_REBUILD_CANCELLED: 'The live rows are as they were; call rebuild again when it may run.',
  TANDEM_NOT_CONFIRMED: 'Call reset with `{ confirm: true }` if readers may see empty rows until everything was replayed; rebuild does it without.',
  TANDEM_CONSUMER_HALTED: 'Mend the cause in the message, then retry the dead letter: the consumer goes on from there.',
  TANDEM_HANDLER_TIMEOUT: 'Look for an Observable that does not complete, or a call without a time limit; mend it, then retry the dead letter. `handlerTimeoutMs` is the limit.',
  TANDEM_ROW_MISSING: 'The event came for a row that does not exist; see `whenMissing` of the handler.',
  TANDEM_SAGA_OUTPUT: 'Return a command whose class has @QueuedCommand, or an ExternalJob, a list or an Observable of them, or nothing.',
  TANDEM_SAGA_LATE_OUTPUT: 'Return everything from the method itself, or complete its Observable in time: what comes later is lost.',
  TANDEM_SAGA_DEPTH: 'Look for a circle: a saga whose commands publish, by whatever way, the event that it handles. Break it, then discard the dead letter.',
  TANDEM_JOB_STALE: 'Another worker has taken this job over; this run has no effect.',
  TANDEM_JOB_TIMEOUT: 'Raise `timeoutMs` of the queued command, or make its handler heed `context.signal`.',
  TANDEM_JOB_LOST: 'Look for what ended the process of its worker (an exit, a lack of memory), mend it, then retry the job with `DurableJobs.retry`.',
  TANDEM_JOB_UNKNOWN: 'Deploy the queued command of that name, or discard the job with `DurableJobs.discard`.',
  TANDEM_QUEUE_UNAVAILABLE: 'Redis does not answer. Nothing is lost: the reconciler goes on in SQL and jobs resume when it is back.',
  TANDEM_TOKEN_INVALID: 'Send the Consistency-Token exactly as a write of this application returned it, or none.',
  TANDEM_CONSISTENCY_TIMEOUT: 'The read side had not caught up in time: repeat the query, or read without the token.',
  TANDEM_CONSISTENCY_HELD: 'An event of this write is a dead letter of the projection: retry or discard it.',
  TANDEM_CONSISTENCY_IN_UNIT: 'Waiting inside a unit of work would wait for its own COMMIT: query after the command.',
  TANDEM_EMBEDDED_IN_USE: 'Stop the other process, or choose another data folder.',
  TANDEM_EMBEDDED_UNREADABLE: 'Give the process read and write access to the data folder, or choose another one.',
  TANDEM_NOT_IDLE: 'Look at what the message names as stuck.',
} as const;

export type TandemErrorCode = keyof typeof ERROR_CATALOGUE;

export interface TandemErrorDetails {
  /** Facts for programs: names, positions, violations. Never payloads, secrets or personal data. */
  readonly data?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** What to do next, where the catalogue's sentence is not specific enough. */
  readonly next?: string;
}

/** On an error of another class: the error of Tandem that it is as well. An object has one chain of classes only. */
export const STANDS_FOR = Symbol('tandem:stands-for');

/** Root of Tandem's errors. `message` reads "what happened. What to do next." */
export class TandemError extends Error {
  static override [Symbol.hasInstance](error: unknown): boolean {
    const isOne = (value: unknown) => Function.prototype[Symbol.hasInstance].call(this, value);
    return isOne(error) || isOne((error as { readonly [STANDS_FOR]?: unknown } | null | undefined)?.[STANDS_FOR]);
  }

  readonly data: Readonly<Record<string, unknown>>;

  constructor(
    readonly code: TandemErrorCode,
    what: string,
    details: TandemErrorDetails = {},
  ) {
    super(`${what.replace(/[.\s]+$/, '')}. ${details.next ?? ERROR_CATALOGUE[code]}`, { cause: details.cause });
    this.name = new.target.name;
    this.data = Object.freeze({ ...details.data });
  }
}

/** True for a {@link TandemError} of this code, wherever its class was loaded from. */
export function isTandemError(error: unknown, code?: TandemErrorCode): error is TandemError {
  return error instanceof TandemError && (code === undefined || error.code === code);
}

/** A stream, or a row, is not at the version that the caller expected. */
export class OptimisticConcurrencyError extends TandemError {
  constructor(subject: string, versions: { expected?: number | 'none'; actual?: number } = {}, cause?: unknown) {
    const at = versions.actual === undefined ? '' : ` is at version ${versions.actual},`;
    const expected = versions.expected === undefined ? ' was changed by someone else' : ` you expected ${versions.expected}`;
    const told = versions.expected === 'none' && versions.actual === undefined ? ' exists already' : `${at}${expected}`;
    super('TANDEM_CONCURRENCY_CONFLICT', `${subject}${told}`, { data: { subject, ...versions }, cause });
  }
}
