import { type CallHandler, type ExecutionContext, Injectable, Logger, type NestInterceptor } from '@nestjs/common';
import { type Observable, tap } from 'rxjs';
import { currentMessage } from '../kernel/message-context.js';
import { describedMessage, errorCode } from './described-message.js';

/**
 * One line of JSON for each command, query and event handled: kind, type, handler (of events), message id, correlation id, outcome, the
 * error's code, and the duration in milliseconds. Never the payload. What succeeded is logged as `log`, what failed as `warn`.
 */
@Injectable()
export class LoggingInterceptor implements NestInterceptor {
  private readonly logger = new Logger('Tandem');

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const described = describedMessage(context);
    if (!described) return next.handle();
    const { kind, type, handler } = described;
    const facts = currentMessage();
    const started = performance.now();
    const line = (outcome: 'ok' | 'failed', error?: string): string =>
      JSON.stringify({
        kind,
        type,
        ...(kind === 'event' && { handler }),
        messageId: facts?.messageId,
        correlationId: facts?.correlationId,
        outcome,
        error,
        durationMs: Math.round((performance.now() - started) * 1_000) / 1_000,
      });
    return next.handle().pipe(
      tap({
        complete: () => this.logger.log(line('ok')),
        error: (error: unknown) => this.logger.warn(line('failed', errorCode(error))),
      }),
    );
  }
}
