import { Injectable } from '@nestjs/common';
import { Clock } from '../kernel/clock.js';
import type { PerformanceReport, QueryTiming, Timing } from './performance-report.js';

/** Types counted apart; what comes after them is counted together, so that memory stays bounded whatever is sent. */
const MAX_TYPES = 500;
const OTHERS = '(others)';

interface Counts {
  executions: number;
  errors: number;
  totalMs: number;
  cacheHits: number;
}

export interface Execution {
  readonly durationMs: number;
  /** Default false. */
  readonly failed?: boolean;
}

/** Counts what the MetricsInterceptor sees, since the process started; in memory, per process. */
@Injectable()
export class PerformanceAnalyzer {
  private readonly commands = new Map<string, Counts>();
  private readonly queries = new Map<string, Counts>();
  private readonly events = new Map<string, Counts>();
  private readonly startedAt: number;

  constructor(private readonly clock: Clock) {
    this.startedAt = clock.now();
  }

  recordCommandExecution(type: string, execution: Execution): void {
    record(this.commands, type, execution);
  }

  recordQueryExecution(type: string, execution: Execution & { readonly cacheHit?: boolean }): void {
    const counts = record(this.queries, type, execution);
    if (execution.cacheHit) counts.cacheHits++;
  }

  recordEventExecution(handler: string, execution: Execution): void {
    record(this.events, handler, execution);
  }

  report(): PerformanceReport {
    return {
      sinceMs: this.clock.now() - this.startedAt,
      commands: timings(this.commands),
      queries: timings(this.queries).map((timing): QueryTiming => {
        const { cacheHits } = this.queries.get(timing.type)!;
        return { ...timing, cacheHits, hitRate: cacheHits / timing.executions };
      }),
      events: timings(this.events),
    };
  }
}

function record(all: Map<string, Counts>, type: string, { durationMs, failed }: Execution): Counts {
  const name = all.has(type) || all.size < MAX_TYPES ? type : OTHERS;
  let counts = all.get(name);
  if (!counts) all.set(name, (counts = { executions: 0, errors: 0, totalMs: 0, cacheHits: 0 }));
  counts.executions++;
  counts.totalMs += durationMs;
  if (failed) counts.errors++;
  return counts;
}

const timings = (all: ReadonlyMap<string, Counts>): Timing[] =>
  [...all].map(([type, { executions, errors, totalMs }]) => ({ type, executions, errors, totalMs, averageMs: totalMs / executions })).sort((a, b) => b.totalMs - a.totalMs);
