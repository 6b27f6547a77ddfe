import { Logger } from '@nestjs/common';
import type { Consumer } from './consumer.js';
import type { BatchResult } from './consumer-batch.js';

/**
 * Says in the log why a consumer does not run: once, and again only when it has run in between. What newer code alone can handle
 * is said once for good: during a deploy older code meets it again and again, and runs in between.
 */
export class StopReports {
  private readonly logger = new Logger('Tandem');
  private readonly stopped = new Map<string, string>();
  private readonly outdated = new Set<string>();

  report({ name }: Consumer, { outdated, paused, stopped }: BatchResult): void {
    if (stopped === undefined) this.stopped.delete(name);
    else if (outdated) this.once(name, stopped);
    else this.newly(name, stopped, paused ? 'warn' : 'error');
  }

  private once(name: string, reason: string): void {
    const said = `${name} does not run: ${reason}`;
    if (!this.outdated.has(said)) this.logger.error(said);
    this.outdated.add(said);
  }

  private newly(name: string, reason: string, level: 'warn' | 'error'): void {
    if (this.stopped.get(name) !== reason) this.logger[level](`${name} does not run: ${reason}`);
    this.stopped.set(name, reason);
  }
}
