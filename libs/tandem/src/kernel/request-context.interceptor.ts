import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { Observable } from 'rxjs';
import { type MessageFacts, rememberRequest, runWithMessage } from './message-context.js';
import { newId } from './new-id.js';
import { RequestSettings } from './request-settings.js';

/** W3C trace context: version, trace id, parent id, flags; neither id may be all zeros, version ff is forbidden. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

interface HttpRequest {
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
}

/** Begins the chain of messages of an HTTP request: who acts (after its guards), a fresh correlation id, the caller's trace, notes of its own. */
@Injectable()
export class RequestContextInterceptor implements NestInterceptor {
  constructor(private readonly settings: RequestSettings) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const facts = this.factsOf(context);
    rememberRequest(context.switchToHttp().getRequest<object>(), facts);
    const notes = {};
    return new Observable((subscriber) => runWithMessage(facts, () => next.handle().subscribe(subscriber), notes));
  }

  private factsOf(context: ExecutionContext): MessageFacts {
    const { actor, tenant } = this.settings.identity?.(context) ?? {};
    const traceparent = context.switchToHttp().getRequest<HttpRequest>().headers?.['traceparent'];
    const id = newId();
    return {
      messageId: id,
      correlationId: id,
      ...(actor !== undefined && { actor }),
      ...(tenant !== undefined && { tenant }),
      ...(typeof traceparent === 'string' && TRACEPARENT.test(traceparent) && { traceparent }),
    };
  }
}
