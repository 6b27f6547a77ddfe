import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { canonicalText } from '../../kernel/canonical-text.js';
import { TandemError } from '../../kernel/errors.js';
import { currentMessage, currentNotes } from '../../kernel/message-context.js';
import { checkCommandId, noteRequestKey } from './command-id.js';

export const IDEMPOTENCY_KEY_HEADER = 'Idempotency-Key';

interface HttpRequest {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly method?: string;
  readonly url?: string;
  /** Express's: `url` is relative to a router. */
  readonly originalUrl?: string;
  readonly body?: unknown;
}

/**
 * Takes the command id of a request from its header `Idempotency-Key`, so that controllers need not. The first command that the request sends itself has this id, a second
 * one the id with `#2`, and so on; commands that those cause belong to them. What a repeat must have in common is the request: method, address and body.
 */
@Injectable()
export class IdempotencyKeyInterceptor implements NestInterceptor {
  /** @throws TANDEM_COMMAND_ID_INVALID before anything runs. */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const request = context.switchToHttp().getRequest<HttpRequest>();
    const key = request.headers[IDEMPOTENCY_KEY_HEADER.toLowerCase()];
    if (key === undefined) return next.handle();
    const [facts, notes] = [currentMessage(), currentNotes()];
    if (!facts || !notes) throw new TandemError('TANDEM_WIRING', 'IdempotencyKeyInterceptor runs outside of a message: it belongs after the interceptor that begins one');
    noteRequestKey(notes, facts.messageId, { id: checkCommandId(key, `The header ${IDEMPOTENCY_KEY_HEADER}`), content: contentOf(request) });
    return next.handle();
  }
}

/** Undefined for a body that nobody has parsed: then the commands themselves are compared. */
function contentOf({ body, headers, method, originalUrl, url }: HttpRequest): (() => string) | undefined {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (body === undefined && hasBody) return undefined;
  return () => canonicalText({ method, url: originalUrl ?? url, body }, `what a request with the header ${IDEMPOTENCY_KEY_HEADER} is compared by`);
}
