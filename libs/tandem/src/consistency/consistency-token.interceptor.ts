import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { concatMap, type Observable, tap } from 'rxjs';
import { TandemError } from '../kernel/errors.js';
import { currentNotes, type RequestNotes, runWithMessage, currentMessage, nextMessage } from '../kernel/message-context.js';
import { demandByDefault } from '../read/query/read-demand.js';
import { ConsistencyGuarantor } from './consistency-guarantor.js';
import { RetryPolicy } from './retry-policy.js';

export const CONSISTENCY_TOKEN_HEADER = 'Consistency-Token';

interface HttpRequest {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Express answers have `setHeader` and `headersSent`, Fastify's `header` and `sent`. */
interface HttpAnswer {
  readonly setHeader?: (name: string, value: string) => unknown;
  readonly header?: (name: string, value: string) => unknown;
  readonly headersSent?: boolean;
  readonly sent?: boolean;
}

/**
 * Carries tokens over HTTP, so that controllers need not: the header `Consistency-Token` of a request is the demand of every query
 * in it, and a request that has committed something answers with a token of that, also when it failed afterwards. A command that
 * found nothing to change (a repeated one) answers with a token of all that was there.
 */
@Injectable()
export class ConsistencyTokenInterceptor implements NestInterceptor {
  private readonly deadlineMs = new RetryPolicy().deadlineMs;

  constructor(private readonly guarantor: ConsistencyGuarantor) {}

  /** @throws TANDEM_TOKEN_INVALID before anything runs. */
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    if (context.getType() !== 'http') return next.handle();
    const notes = currentNotes();
    if (!notes) throw new TandemError('TANDEM_WIRING', 'ConsistencyTokenInterceptor runs outside of a message: it belongs after the interceptor that begins one');
    const token = tokenOf(context.switchToHttp().getRequest<HttpRequest>());
    if (token !== undefined) this.demand(notes, token);
    const answer = context.switchToHttp().getResponse<HttpAnswer>();
    const inRequest = <T>(work: () => T): T => runWithMessage(currentMessage() ?? nextMessage(), work, notes);
    return next.handle().pipe(
      concatMap(async (value: unknown) => {
        this.setToken(answer, await inRequest(async () => this.guarantor.currentToken() ?? (await this.guarantor.tokenOfNoChange())));
        return value;
      }),
      tap({
        error: () =>
          this.setToken(
            answer,
            inRequest(() => this.guarantor.currentToken()),
          ),
      }),
    );
  }

  private demand(notes: RequestNotes, token: string): void {
    this.guarantor.check(token);
    demandByDefault(notes, { kind: 'token', token, deadlineMs: this.deadlineMs, onTimeout: 'error' });
  }

  private setToken(answer: HttpAnswer, token: string | undefined): void {
    if (token === undefined || answer.headersSent || answer.sent) return;
    if (answer.setHeader) answer.setHeader(CONSISTENCY_TOKEN_HEADER, token);
    else answer.header?.(CONSISTENCY_TOKEN_HEADER, token);
  }
}

/** An empty header demands nothing. Several are joined by Node, and refused as the garbage that they then are. */
function tokenOf(request: HttpRequest): string | undefined {
  const value = request.headers[CONSISTENCY_TOKEN_HEADER.toLowerCase()];
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string') throw new TandemError('TANDEM_TOKEN_INVALID', `The request has ${value.length} ${CONSISTENCY_TOKEN_HEADER} headers`);
  return value;
}
