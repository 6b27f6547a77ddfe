import { QueryFailedError } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';

/** What the drivers of both databases put on their errors. */
interface DriverError {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly fatal?: unknown;
  readonly severity?: unknown;
  readonly message?: unknown;
}

/** MySQL: deadlock, lock wait time-out, record changed since last read (MariaDB), NOWAIT, a table that was swapped since the snapshot was taken. PostgreSQL: serialization, deadlock, lock_timeout and NOWAIT. */
const RETRYABLE: ReadonlySet<unknown> = new Set([1213, 1205, 1020, 1412, 3572, '40001', '40P01', '55P03']);
/** A lock was waited for too long (MySQL, PostgreSQL). */
const LOCK_TIMEOUT: ReadonlySet<unknown> = new Set([1205, '55P03']);
const DUPLICATE_KEY: ReadonlySet<unknown> = new Set([1062, 1586, '23505']);
/** A statement that wanted to write in a READ ONLY transaction. */
const READ_ONLY: ReadonlySet<unknown> = new Set([1792, '25006']);
/** KILL QUERY, and the time limit of a statement (MariaDB, MySQL). */
const INTERRUPTED: ReadonlySet<unknown> = new Set([1317, 1969, 3024]);
const DISK_FULL: ReadonlySet<unknown> = new Set([1021, 1114, '53100']);
/** Server shut down, connection killed (MariaDB, MySQL), idle too long (MySQL 8); PostgreSQL: terminated by an operator, a crash, or an idle limit. */
const ENDED_BY_SERVER: ReadonlySet<unknown> = new Set([1053, 1927, 3169, 4031, '25P03', '25P04', '57P01', '57P02', '57P03', '57P05']);
/** More connections than the server, or its settings for this user, allow (MySQL, PostgreSQL). */
const SERVER_FULL: ReadonlySet<unknown> = new Set([1040, 1203, 1226, '53300']);
const SOCKET_CODES: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
]);
/** pg reports a lost socket, and mysql2 a closed connection, by message only. */
const LOST_MESSAGES =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Can't add new command when connection is in closed state|The client was disconnected by the server)/;

/** The driver's own error: TypeORM wraps it in a QueryFailedError. */
export function driverErrorOf(error: unknown): unknown {
  return error instanceof QueryFailedError ? (error.driverError as unknown) : error;
}

const facts = (error: unknown): DriverError => {
  const driverError = driverErrorOf(error);
  return typeof driverError === 'object' && driverError !== null ? driverError : {};
};

const hasNumber = (error: unknown, numbers: ReadonlySet<unknown>): boolean => {
  const { errno, code } = facts(error);
  return numbers.has(errno) || numbers.has(code);
};

/** The database asks for the whole transaction to be repeated: deadlock, lock time-out, serialization failure. */
export const isRetryable = (error: unknown): boolean => hasNumber(error, RETRYABLE);

/** What somebody else has locked was waited for too long. */
export const isLockTimeout = (error: unknown): boolean => hasNumber(error, LOCK_TIMEOUT);

/** A primary or unique key already has this value. */
export const isDuplicateKey = (error: unknown): boolean => hasNumber(error, DUPLICATE_KEY);

/** The disk or the table space is full: not the fault of what was to be written. */
export const isDiskFull = (error: unknown): boolean => hasNumber(error, DISK_FULL);

/** The server takes no more connections, of anybody or of this user. */
export const isServerFull = (error: unknown): boolean => hasNumber(error, SERVER_FULL);

export const serverFull = (cause: unknown): TandemError =>
  new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'The database takes no more connections', {
    cause,
    next: 'Make `poolSize` of the data source, `commandPoolSize`, `queryPoolSize` or `workerPoolSize` smaller, run fewer processes, or raise the limit of the server.',
  });

/** A statement was stopped on its way. */
export const isInterrupted = (error: unknown): boolean => hasNumber(error, INTERRUPTED);

/** A write was tried in a READ ONLY transaction. */
export const isReadOnlyViolation = (error: unknown): boolean => hasNumber(error, READ_ONLY);

/** The connection is gone, or could not be made; what was in flight has an unknown outcome. */
export const isConnectionLost = (error: unknown): boolean => facts(error).fatal === true || isAway(error);

/** As `isConnectionLost`, but false for a login that the server refused. */
export function isAway(error: unknown): boolean {
  const { code, errno, message } = facts(error);
  if (SOCKET_CODES.has(code) || ENDED_BY_SERVER.has(errno) || ENDED_BY_SERVER.has(code)) return true;
  if (typeof code === 'string' && /^08[0-9A-Z]{3}$/.test(code)) return true;
  return typeof message === 'string' && LOST_MESSAGES.test(message);
}

/** True for an error that the database sent in answer to a statement, false for one of the driver, the socket or our own. */
export function isServerError(error: unknown): boolean {
  const { errno, code, severity } = facts(error);
  return severity !== undefined || (typeof errno === 'number' && errno >= 1000 && typeof code === 'string');
}
