/** Batch after batch of one consumer, in as many lanes as there is work for, until there is nothing to read: one run per consumer and process at a time. */
import type { Lessons } from './batch-lessons.js';
import type { Clock } from '../kernel/clock.js';
import { type Consumer, sideOf } from './consumer.js';
import type { BatchPorts, BatchRequest, BatchResult, ConsumerBatch } from './consumer-batch.js';
import { SHARDS } from './event-log.js';
import { GapWatch } from './gap-watch.js';
import type { RunBound } from './run-condition.js';
import { inGrowingLanes, SingleRuns } from './single-runs.js';

/** How often, and how many milliseconds apart, a busy claim is tried again before it is left to the process that holds it. */
const BUSY_TRIES = 5;
const BUSY_PAUSE_MS = 20;
/** One that runs alone and was not free for so long is waited for: commands that fold it hand it from one to the next, and who only looks comes in between by chance. */
const IN_LINE_AFTER_MS = 250;
/** What was learnt longer ago may have been mended since. */
const KEPT_MS = 30_000;
/** Of a consumer in many lanes, one claim takes no fewer shards than this. */
const SHARDS_AT_LEAST = 8;

export interface RunPorts extends Omit<BatchPorts, 'letters'> {
  readonly batch: ConsumerBatch;
  readonly clock: Clock;
  /** Of one consumer in this process. */
  readonly lanes: number;
  readonly report: (consumer: Consumer, result: BatchResult) => void;
  readonly stop: AbortSignal;
}

export class ConsumerRuns {
  private readonly running = new SingleRuns();
  /** Consumer → how far its run reads; missing: to the heads. */
  private readonly bounds = new Map<string, RunBound>();
  /** Consumer that runs alone → what its last batch here had learnt when another process came in between: of several that keep interrupting each other, each would begin anew for ever. */
  private readonly interrupted = new Map<string, { readonly lessons: Lessons; readonly at: number }>();
  /** Consumer that runs alone → since when it was not free for a batch here. */
  private readonly busySince = new Map<string, number>();
  /** One at a time: behind a holder that stands still, each would hold a connection of the workers' pool for as long as the database lets it wait. */
  private isInLine = false;

  constructor(private readonly ports: RunPorts) {}

  get size(): number {
    return this.running.size;
  }

  has(name: string): boolean {
    return this.running.has(name);
  }

  /** Resolves when what runs now has ended, one way or the other. */
  ended(): Promise<void> {
    return this.running.ended();
  }

  /** Until there is nothing to read, or somebody else is at it; no further than the bound. Shares the run that is going on. @throws what is transient. */
  catchUp(consumer: Consumer, bound?: RunBound): Promise<void> {
    const { name, parallelism } = consumer;
    const { lanes, stop } = this.ports;
    this.extend(name, bound);
    return this.running.run(name, () => inGrowingLanes(Math.min(parallelism, lanes), (more) => this.runLane(consumer, more)), stop);
  }

  /** A run that is going on goes as far as anybody has asked. */
  private extend(name: string, bound: RunBound | undefined): void {
    const going = this.bounds.get(name);
    if (!bound) this.bounds.delete(name);
    else if (!this.has(name) || (going && going.untilMicros < bound.untilMicros)) this.bounds.set(name, bound);
  }

  /** Calls `another` when there is more to read than one batch takes. */
  private async runLane(consumer: Consumer, another: () => void): Promise<void> {
    const { clock, log, report, stop } = this.ports;
    let busy = 0;
    const gaps = new GapWatch(log, clock);
    const interrupted = this.takeInterrupted(consumer);
    while (!stop.aborted) {
      const result = await (busy === BUSY_TRIES && this.waitsTooLong(consumer.name) ? this.runInLine(consumer, interrupted) : this.runBatch(consumer, interrupted));
      if (result) {
        busy = 0;
        this.busySince.delete(consumer.name);
        report(consumer, result);
        if (result.more && !result.waits) another();
        // Of a consumer in several lanes, one claim may have seen only some of the shards.
        if (!result.more && (consumer.parallelism === 1 || result.whole || !result.advanced)) return;
        const gapPause = await gaps.pauseAt(result.gap);
        if (result.waits) await clock.sleep(gapPause ?? BUSY_PAUSE_MS, stop);
      } else {
        if (consumer.parallelism === 1 && !this.busySince.has(consumer.name)) this.busySince.set(consumer.name, clock.now());
        // The holder may have read the heads just before the event that woke us.
        if (++busy > BUSY_TRIES) return this.keepInterrupted(consumer, interrupted);
        await clock.sleep(BUSY_PAUSE_MS, stop);
      }
    }
  }

  private waitsTooLong(name: string): boolean {
    const since = this.busySince.get(name);
    return since !== undefined && this.ports.clock.now() - since >= IN_LINE_AFTER_MS;
  }

  private takeInterrupted({ name }: Consumer): NonNullable<BatchRequest['interrupted']> {
    const kept = this.interrupted.get(name);
    this.interrupted.delete(name);
    return kept && this.ports.clock.now() - kept.at < KEPT_MS ? { lessons: kept.lessons } : {};
  }

  private keepInterrupted({ name, parallelism }: Consumer, { lessons }: NonNullable<BatchRequest['interrupted']>): void {
    if (parallelism === 1 && lessons) this.interrupted.set(name, { lessons, at: this.ports.clock.now() });
  }

  private async runInLine(consumer: Consumer, interrupted: BatchRequest['interrupted']): Promise<BatchResult | undefined> {
    if (this.isInLine) return this.runBatch(consumer, interrupted);
    this.isInLine = true;
    try {
      return await this.runBatch(consumer, interrupted, true);
    } finally {
      this.isInLine = false;
    }
  }

  private runBatch(consumer: Consumer, interrupted: BatchRequest['interrupted'], inLine = false): Promise<BatchResult | undefined> {
    const { batch, log, settings, store, units } = this.ports;
    const { name, parallelism } = consumer;
    const exclusive = parallelism === 1;
    const limit = Math.max(SHARDS_AT_LEAST, Math.ceil(SHARDS / parallelism));
    const bound = this.bounds.get(name);
    return batch.run({
      consumer,
      interrupted,
      untilMicros: bound?.untilMicros,
      atEnd: bound?.isSlot ? (unit) => store.noteRun(unit, name, bound.untilMicros) : undefined,
      claim: (unit) => store.claim(unit, { consumer: name, exclusive, limit, events: exclusive ? undefined : settings.batchSize, wait: false, inLine }),
      heads: async (unit, claim) =>
        claim.heads ??
        log.heads(
          unit,
          claim.checkpoints.map(({ shard }) => shard),
        ),
      attempt: (work) => units.run(work, { kind: 'consumer', side: sideOf(consumer) }),
    });
  }
}
