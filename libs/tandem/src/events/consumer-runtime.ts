/**
 * Runs the consumers of this process. Three callers, one loop: a wake-up job, the reconciler (which compares heads with
 * checkpoints in SQL, so that no wake-up needs to be reliable), and the command that folds an `immediate` projection.
 */
import { setMaxListeners } from 'node:events';
import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { Clock } from '../kernel/clock.js';
import { asWorker } from '../kernel/connection-use.js';
import { UnitOfWork, type Unit } from '../kernel/unit-of-work.js';
import { CommandFold } from './command-fold.js';
import { type Consumer, sideOf, typesOf } from './consumer.js';
import { ConsumerBatch, type BatchPorts, type BatchRequest, type BatchResult } from './consumer-batch.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerSettings } from './consumer-settings.js';
import { ConsumerStore } from './consumer-store.js';
import { type DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import { DueRetries } from './due-retries.js';
import { EventCapture } from './event-capture.js';
import { EventLog, SHARDS } from './event-log.js';
import { GapWatch } from './gap-watch.js';
import { Reconciler } from './reconciler.js';
import { compareWithRegistered, type Retired } from './retired.js';
import { inGrowingLanes, SingleRuns } from './single-runs.js';
import { StopReports } from './stop-reports.js';
import { StreamRetry } from './stream-retry.js';
import { WakeUpTransport } from './wake-up-transport.js';
import { WakeUps } from './wake-ups.js';

/** Told after a batch has committed changes of this consumer. */
export type BatchListener = (consumer: Consumer) => void;

/** How often, and how many milliseconds apart, a busy claim is tried again before it is left to the process that holds it. */
const BUSY_TRIES = 5;
const BUSY_PAUSE_MS = 20;
/** Of a consumer in many lanes, one claim takes no fewer shards than this. */
const SHARDS_AT_LEAST = 8;
/** Consumers that one process runs at once. */
const CONCURRENCY = 4;
/** Woken ones and reconciled ones. */
const RUNNING_AT_ONCE = 2 * CONCURRENCY;

@Injectable()
export class ConsumerRuntime {
  private readonly logger = new Logger('Tandem');
  private readonly batch: ConsumerBatch;
  private readonly streamRetry: StreamRetry;
  private readonly commandFold: CommandFold;
  private readonly listeners: BatchListener[] = [];
  private readonly running = new SingleRuns();
  /** Consumer → events that it has handled in this process. */
  private readonly handled = new Map<string, number>();
  private readonly retries: DueRetries;
  private readonly stops = new StopReports();
  private readonly stopping = new AbortController();
  private reconciler: Promise<void> | undefined;

  constructor(
    private readonly units: UnitOfWork,
    private readonly log: EventLog,
    private readonly store: ConsumerStore,
    private readonly letters: DeadLetterStore,
    private readonly registry: ConsumerRegistry,
    private readonly settings: ConsumerSettings,
    private readonly capture: EventCapture,
    private readonly wakeUps: WakeUps,
    private readonly transport: WakeUpTransport,
    private readonly clock: Clock,
  ) {
    const ports: BatchPorts = { units, log, store, letters, settings };
    this.batch = new ConsumerBatch(ports);
    this.streamRetry = new StreamRetry(ports);
    this.retries = new DueRetries({ letters, retry: (consumer, letter) => this.retry(consumer, letter), lanes: CONCURRENCY, stop: this.stopping.signal });
    this.commandFold = new CommandFold(ports, registry, this.batch, (consumer, result) => this.report(consumer, result));
    // Every consumer that runs may be asleep on it.
    setMaxListeners(0, this.stopping.signal);
  }

  onBatch(listener: BatchListener): void {
    this.listeners.push(listener);
  }

  /** Says what this code lacks of what is registered. Returns what refuses the start. */
  async missing(consumers: readonly Consumer[], retired: Retired): Promise<readonly string[]> {
    const { problems, warnings } = compareWithRegistered(consumers, await this.store.registered(), retired);
    for (const warning of warnings) this.logger.warn(warning);
    this.registry.retire(retired.consumers ?? []);
    return problems;
  }

  /** Before anything is served, in every role: names, event types and checkpoints go to SQL; commands begin to fold and to wake. */
  async register(consumers: readonly Consumer[]): Promise<void> {
    this.registry.add(consumers);
    await this.store.register(
      consumers.map((consumer) => ({
        name: consumer.name,
        kind: consumer.kind,
        types: typesOf(consumer),
        retiredTypes: consumer.retiredTypes,
        version: consumer.version,
        startFrom: consumer.startFrom,
      })),
    );
    this.capture.onAppend(this.commandFold);
    this.capture.onCommitted((events) => this.wakeUps.committed(events));
    // A command must not find a long history to fold while it holds a shard.
    for (const consumer of consumers) if (consumer.runBy === 'command') await this.catchUp(consumer);
  }

  /** Workers only: receives wake-ups and reconciles. */
  async start(): Promise<void> {
    await this.transport.listen(async (name) => {
      if (this.registry.has(name) && !this.stopping.signal.aborted) await asWorker(() => this.woken(this.registry.named(name)));
    }, CONCURRENCY);
    this.reconciler = asWorker(() => this.newReconciler().runUntil(this.stopping.signal));
  }

  /** True in a process that runs consumers. */
  get isWorking(): boolean {
    return this.reconciler !== undefined && !this.stopping.signal.aborted;
  }

  /** No new batches; resolves when the running ones are done, or after `drainMs`: what a batch has not committed by then another worker reads again. */
  async stop(drainMs: number): Promise<void> {
    this.stopping.abort();
    const running = Promise.all([this.reconciler, this.running.ended(), this.retries.ended()]);
    await Promise.all([this.transport.stop(drainMs), this.atMost(drainMs, running)]);
  }

  private async atMost(ms: number, work: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    try {
      await Promise.race([work, this.clock.sleep(ms, done.signal)]);
    } finally {
      done.abort();
    }
  }

  /** Runs a consumer until it has nothing to read, or somebody else is at it. @throws what is transient. */
  catchUp(consumer: Consumer): Promise<void> {
    return this.running.run(consumer.name, () => inGrowingLanes(Math.min(consumer.parallelism, CONCURRENCY), (more) => this.runLane(consumer, more)), this.stopping.signal);
  }

  /**
   * For a comparison at one position: claims all of the consumer's checkpoints inside the given unit and folds exactly up to
   * these heads. @throws TANDEM_CONSUMER_HALTED when the consumer may not run.
   */
  async drainTo(unit: Unit, consumer: Consumer, upTo: ReadonlyMap<number, number>): Promise<void> {
    for (;;) {
      const result = await this.batch.run({
        consumer,
        claim: (nested) => this.store.claim(nested, { consumer: consumer.name, exclusive: true, wait: true }),
        heads: async () => ({ heads: upTo, cutMicros: Number.MAX_SAFE_INTEGER }),
        attempt: (work) => this.units.run(work, { kind: unit.kind, side: sideOf(consumer) }),
      });
      if (result?.stopped) throw new TandemError('TANDEM_CONSUMER_HALTED', `${consumer.name}: ${result.stopped}`);
      if (!result?.more) return;
      if (result.gap) throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `Shard ${result.gap.shard} of the log has a hole at ${result.gap.seq}, which a worker will close`);
    }
  }

  private newReconciler(): Reconciler {
    const { clock, letters, registry, store } = this;
    const catchUp = async (consumer: Consumer, atMostMs: number) => {
      if (!this.running.has(consumer.name) && this.running.size >= RUNNING_AT_ONCE) return;
      await this.atMost(
        atMostMs,
        this.reported(consumer.name, () => this.catchUp(consumer)),
      );
    };
    const retry = (consumer: Consumer, atMostMs: number) =>
      this.atMost(
        atMostMs,
        this.reported(consumer.name, () => this.retries.run(consumer)),
      );
    return new Reconciler({ clock, letters, registry, store, catchUp, retry, reconcileEveryMs: this.settings.reconcileEveryMs });
  }

  /** An operator's retry of a held stream sends the same message as an event does: where no event is found, letters are looked for. The reconciler looks for them anyway. */
  private async woken(consumer: Consumer): Promise<void> {
    const before = this.handledBy(consumer);
    await this.reported(consumer.name, () => this.catchUp(consumer));
    if (this.handledBy(consumer) === before) await this.reported(consumer.name, () => this.retries.run(consumer));
  }

  private handledBy({ name }: Consumer): number {
    return this.handled.get(name) ?? 0;
  }

  private async retry(consumer: Consumer, letter: DeadLetter): Promise<boolean> {
    let moved = false;
    await this.reported(consumer.name, async () => {
      const result = await this.streamRetry.run(consumer, letter);
      moved = result.handled > 0;
      if (moved || result.stopped) this.report(consumer, result);
    });
    return moved;
  }

  /** Calls `another` when there is more to read than one batch takes. */
  private async runLane(consumer: Consumer, another: () => void): Promise<void> {
    let busy = 0;
    const gaps = new GapWatch(this.log, this.clock);
    const interrupted = {};
    while (!this.stopping.signal.aborted) {
      const result = await this.runBatch(consumer, interrupted);
      if (result) {
        busy = 0;
        this.report(consumer, result);
        if (result.more && !result.waits) another();
        // Of a consumer in several lanes, one claim may have seen only some of the shards.
        if (!result.more && (consumer.parallelism === 1 || result.whole || !result.advanced)) return;
        const gapPause = await gaps.pauseAt(result.gap);
        if (result.waits) await this.clock.sleep(gapPause ?? BUSY_PAUSE_MS, this.stopping.signal);
      } else {
        // The holder may have read the heads just before the event that woke us.
        if (++busy > BUSY_TRIES) return;
        await this.clock.sleep(BUSY_PAUSE_MS, this.stopping.signal);
      }
    }
  }

  private runBatch(consumer: Consumer, interrupted: BatchRequest['interrupted']): Promise<BatchResult | undefined> {
    const exclusive = consumer.parallelism === 1;
    const limit = Math.max(SHARDS_AT_LEAST, Math.ceil(SHARDS / consumer.parallelism));
    return this.batch.run({
      consumer,
      interrupted,
      claim: (unit) => this.store.claim(unit, { consumer: consumer.name, exclusive, limit, events: exclusive ? undefined : this.settings.batchSize, wait: false }),
      heads: async (unit, claim) =>
        claim.heads ??
        this.log.heads(
          unit,
          claim.checkpoints.map(({ shard }) => shard),
        ),
      attempt: (work) => this.units.run(work, { kind: 'consumer', side: sideOf(consumer) }),
    });
  }

  private report(consumer: Consumer, result: BatchResult): void {
    this.handled.set(consumer.name, this.handledBy(consumer) + result.handled);
    if (result.handled > 0) for (const listener of this.listeners) listener(consumer);
    this.stops.report(consumer, result);
  }

  private async reported(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.logger.warn(`${name} could not run now and is tried again: ${String(error)}`);
    }
  }
}
