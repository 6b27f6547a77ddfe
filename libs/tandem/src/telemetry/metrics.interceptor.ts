import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { type Observable, tap } from 'rxjs';
import { wasCacheHit } from '../read/query-cache/cache-hits.js';
import { type DescribedMessage, describedMessage } from './described-message.js';
import { PerformanceAnalyzer } from './performance-analyzer.js';

/** Times every command, query and event handler for the PerformanceAnalyzer. */
@Injectable()
export class MetricsInterceptor implements NestInterceptor {
  constructor(private readonly analyzer: PerformanceAnalyzer) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const described = describedMessage(context);
    if (!described) return next.handle();
    const started = performance.now();
    const record = (failed: boolean) => this.record(described, performance.now() - started, failed);
    return next.handle().pipe(tap({ complete: () => record(false), error: () => record(true) }));
  }

  private record({ kind, type, handler, message }: DescribedMessage, durationMs: number, failed: boolean): void {
    switch (kind) {
      case 'command':
        return this.analyzer.recordCommandExecution(type, { durationMs, failed });
      case 'query':
        return this.analyzer.recordQueryExecution(type, { durationMs, failed, cacheHit: wasCacheHit(message) });
      case 'event':
        return this.analyzer.recordEventExecution(handler, { durationMs, failed });
    }
  }
}
