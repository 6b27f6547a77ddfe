import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { type Observable, tap } from 'rxjs';
import { currentMessage, type MessageFacts } from '../kernel/message-context.js';
import { wasCacheHit } from '../read/query-cache/cache-hits.js';
import { type DescribedMessage, describedMessage } from './described-message.js';
import { type Execution, PerformanceAnalyzer } from './performance-analyzer.js';

/** Times every command, query and event handler for the PerformanceAnalyzer. */
@Injectable()
export class MetricsInterceptor implements NestInterceptor {
  constructor(private readonly analyzer: PerformanceAnalyzer) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const described = describedMessage(context);
    if (!described) return next.handle();
    const facts = currentMessage();
    const started = performance.now();
    const record = (failed: boolean) => this.record(described, { durationMs: performance.now() - started, failed }, facts);
    return next.handle().pipe(tap({ complete: () => record(false), error: () => record(true) }));
  }

  private record({ kind, type, handler }: DescribedMessage, execution: Execution, facts: MessageFacts | undefined): void {
    switch (kind) {
      case 'command':
        return this.analyzer.recordCommandExecution(type, execution);
      case 'query':
        return this.analyzer.recordQueryExecution(type, { ...execution, cacheHit: wasCacheHit(facts) });
      case 'event':
        return this.analyzer.recordEventExecution(handler, execution);
    }
  }
}
