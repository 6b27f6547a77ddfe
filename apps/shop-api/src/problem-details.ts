import { HttpException, HttpStatus } from '@nestjs/common';
import { isTandemError, type TandemErrorCode } from 'nest-tandem';
import { isShopError, type ShopErrorCode } from 'shop';
import { InvalidRequest, type FieldProblem } from './invalid-request.js';

/** RFC 9457, with our code, the fields that are wrong, and the id that finds the log lines of this request. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly errors?: readonly FieldProblem[];
  readonly correlationId?: string;
}

const SHOP_STATUS: Readonly<Record<ShopErrorCode, HttpStatus>> = {
  SHOP_INVALID: 400,
  SHOP_CURSOR_INVALID: 400,
  SHOP_FILE_INVALID: 400,
  SHOP_USER_NOT_FOUND: 404,
  SHOP_ORDER_NOT_FOUND: 404,
  SHOP_CUSTOMER_NOT_FOUND: 404,
  SHOP_USER_EXISTS: 409,
  SHOP_EMAIL_TAKEN: 409,
  SHOP_USER_DEACTIVATED: 409,
  SHOP_ORDER_CONFLICT: 409,
  SHOP_RETURN_CONFLICT: 409,
  SHOP_OUTBOX_UNUSABLE: 500,
};

/** Codes that a caller can do something about. Every other one is our fault: 500, without its message. */
const TANDEM_STATUS: Partial<Readonly<Record<TandemErrorCode, HttpStatus>>> = {
  TANDEM_VALIDATION: 400,
  TANDEM_TOKEN_INVALID: 400,
  TANDEM_PAYLOAD_REFUSED: 400,
  TANDEM_COMMAND_ID_INVALID: 400,
  TANDEM_COMMAND_ID_REFUSED: 400,
  TANDEM_CONCURRENCY_CONFLICT: 409,
  TANDEM_COMMAND_ID_CONFLICT: 409,
  TANDEM_COMMAND_IN_PROGRESS: 409,
  TANDEM_STORAGE_UNAVAILABLE: 503,
  TANDEM_QUEUE_UNAVAILABLE: 503,
  TANDEM_ACQUIRE_TIMEOUT: 503,
  TANDEM_CONTENTION: 503,
  TANDEM_COMMIT_FAILED: 503,
  TANDEM_COMMIT_UNKNOWN: 503,
  TANDEM_CONSUMER_HALTED: 503,
  TANDEM_CONSISTENCY_TIMEOUT: 503,
  TANDEM_CONSISTENCY_HELD: 503,
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'Who you are is not known',
  403: 'This is not allowed',
  404: 'There is no such thing',
  405: 'This cannot be done here',
  409: 'This is at odds with what is stored',
  413: 'The request is too large',
  408: 'The request did not come to its end',
  415: 'The request has a type that is not read here',
  431: 'The request is too large',
  500: 'Something went wrong',
  503: 'This cannot be answered now',
};

const DATABASE_AWAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'PROTOCOL_CONNECTION_LOST',
  '57P01',
  '57P02',
  '57P03',
  '08001',
  '08003',
  '08006',
]);

/** What a caller may know of an error. */
export function problemOf(error: unknown): ProblemDetails {
  if (error instanceof InvalidRequest) return { ...problem(400, 'SHOP_INVALID', error.message), errors: error.fields };
  if (isShopError(error)) {
    const { field, rule } = error.data;
    return {
      ...problem(SHOP_STATUS[error.code], error.code, error.message),
      ...(error.code === 'SHOP_INVALID' && { errors: [{ field: String(field), message: `${String(field)} ${String(rule)}` }] }),
    };
  }
  if (isTandemError(error)) {
    const status = TANDEM_STATUS[error.code];
    if (status !== undefined) return { ...problem(status, error.code, error.message), ...(error.code === 'TANDEM_VALIDATION' && { errors: violationsOf(error.data) }) };
  }
  if (error instanceof HttpException) return ofHttpException(error);
  if (databaseIsAway(error)) return problem(503, 'TANDEM_STORAGE_UNAVAILABLE', 'The database does not answer; try again when it is back.');
  return problem(500, 'INTERNAL', 'The error is in the log, under the correlation id.');
}

/** Of what Node refuses before there is a request: see `clientError` of its HTTP server. */
export function problemOfUnreadable(code: string | undefined): ProblemDetails {
  if (code === 'HPE_HEADER_OVERFLOW') return problem(431, 'HEADERS_TOO_LARGE', 'Address and headers together are larger than 16 KiB.');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return problem(408, 'REQUEST_TIMEOUT', 'The request took too long to arrive; send it again.');
  return problem(400, 'REQUEST_UNREADABLE', 'The request is not well-formed HTTP.');
}

function problem(status: number, code: string, detail: string): ProblemDetails {
  return { type: `urn:tandem-shop:problem:${code.toLowerCase().replaceAll('_', '-')}`, title: TITLES[status] ?? 'The request failed', status, detail, code };
}

function ofHttpException(exception: HttpException): ProblemDetails {
  const status = exception.getStatus();
  if (status === 404) return problem(404, 'ROUTE_NOT_FOUND', 'There is no such route; /docs lists those that there are.');
  // The parser's own message quotes the body.
  if (status === 400) return problem(400, 'REQUEST_UNREADABLE', 'The body is not well-formed JSON, or the address has a wrong escape.');
  if (status === 413) return problem(413, 'BODY_TOO_LARGE', 'The body is larger than 1 MiB.');
  if (status < 500) return problem(status, HttpStatus[status] ?? 'HTTP_ERROR', exception.message);
  return problem(status, 'INTERNAL', 'The error is in the log, under the correlation id.');
}

function violationsOf({ violations }: Readonly<Record<string, unknown>>): readonly FieldProblem[] {
  if (!Array.isArray(violations)) return [];
  return (violations as readonly { path: string; message: string }[]).map(({ path, message }) => ({ field: path, message }));
}

/** True when a connection could not be made or was lost. */
export function databaseIsAway(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false;
  const { code, driverError, cause } = error as Error & { code?: unknown; driverError?: unknown };
  return (typeof code === 'string' && DATABASE_AWAY.has(code)) || databaseIsAway(driverError, depth + 1) || databaseIsAway(cause, depth + 1);
}
