/**
 * What an operator asks of a running application and may do to it. *Report*: what this process executed, in how much time.
 * *Status*: of the whole fleet, from SQL: how far every consumer is, the jobs by state, and the events that failed.
 */
import { Inject, Injectable, Optional } from '@nestjs/common';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { type ConsumerOverview, Consumers } from '../events/consumers.js';
import type { DeadLetter } from '../events/dead-letter-store.js';
import { DeadLetters } from '../events/dead-letters.js';
import { type JobState, JobStore, type JobSummary } from '../jobs/job-store.js';
import { TandemError } from '../kernel/errors.js';
import { PipelineSettings } from '../kernel/pipeline-settings.js';
import { MetricsInterceptor } from '../telemetry/metrics.interceptor.js';
import { PerformanceAnalyzer } from '../telemetry/performance-analyzer.js';
import type { PerformanceReport } from '../telemetry/performance-report.js';

const LISTED = 100;
/** What names of tenants and streams consist of: an id outside of it is none, and some databases refuse to compare it. */
const ID = /^[\x20-\x7e]{0,200}$/;
const NOT_MEASURING = 'Nothing is measured: list MetricsInterceptor in the option `interceptors` of TandemModule.';

export interface OpsStatus {
  readonly consumers: readonly ConsumerOverview[];
  readonly jobs: readonly { readonly name: string; readonly state: JobState; readonly count: number }[];
  /** Out of attempts, newest first; at most 100. */
  readonly parkedJobs: readonly JobSummary[];
  /** Newest last, at most 100. */
  readonly deadLetters: readonly DeadLetter[];
}

export interface RetriedStreams {
  /** Streams that are tried again at once. */
  readonly retried: number;
}

const isId = (value: unknown): value is string => typeof value === 'string' && ID.test(value);

@Injectable()
export class OpsService {
  constructor(
    private readonly analyzer: PerformanceAnalyzer,
    private readonly consumers: Consumers,
    private readonly registry: ConsumerRegistry,
    private readonly letters: DeadLetters,
    private readonly jobs: JobStore,
    @Optional() @Inject(PipelineSettings) private readonly pipeline?: PipelineSettings,
  ) {}

  /** Of this process, since it started: where API and worker are two processes, the jobs and projections are not in it. */
  report(): PerformanceReport {
    const report = this.analyzer.report();
    const isEmpty = report.commands.length + report.queries.length + report.events.length === 0;
    return isEmpty && !this.isMeasuring ? { ...report, hint: NOT_MEASURING } : report;
  }

  private get isMeasuring(): boolean {
    return !this.pipeline || this.pipeline.inheritGlobalEnhancers || this.pipeline.interceptors.includes(MetricsInterceptor);
  }

  /** Of every process: one look at the database, without locks. */
  async status(): Promise<OpsStatus> {
    const [consumers, jobs, parkedJobs, deadLetters] = await Promise.all([
      this.consumers.status(),
      this.jobs.counts(),
      this.jobs.list('parked', LISTED),
      this.letters.list({ limit: LISTED }),
    ]);
    return { consumers, jobs, parkedJobs, deadLetters };
  }

  /**
   * Tries failed events again: `{ consumer, tenant?, stream? }`, all of the consumer's when no stream is named.
   * @throws TANDEM_VALIDATION for anything else, and for a consumer that this application does not have.
   */
  async retryDeadLetters(request: unknown): Promise<RetriedStreams> {
    return { retried: await this.letters.retry(this.streamsToRetry(request)) };
  }

  private streamsToRetry(request: unknown): { consumer: string; tenant?: string; stream?: string } {
    const given = typeof request === 'object' && request !== null ? (request as Readonly<Record<string, unknown>>) : {};
    const { consumer, tenant, stream, ...unknown } = given;
    const violations = [
      ...(typeof consumer === 'string' && this.registry.has(consumer) ? [] : [{ path: 'consumer', message: 'consumer must name a projection or saga of this application' }]),
      ...Object.entries({ tenant, stream }).flatMap(([path, value]) =>
        value === undefined || isId(value) ? [] : [{ path, message: `${path} must be an id, as the status shows it` }],
      ),
      ...Object.keys(unknown).map((path) => ({ path, message: `${path} is not known here` })),
    ];
    if (violations.length > 0) throw new TandemError('TANDEM_VALIDATION', 'What to retry is not clear', { data: { violations } });
    return { consumer: String(consumer), ...(typeof tenant === 'string' && { tenant }), ...(typeof stream === 'string' && { stream }) };
  }
}
