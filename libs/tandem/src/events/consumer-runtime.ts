/**
 * Runs the consumers of this process. Three callers, one loop: a wake-up job (of an event, or of a schedule), the reconciler (which compares heads
 * with checkpoints in SQL, so that no wake-up needs to be reliable), and the command that folds an `immediate` projection.
 */
import { setMaxListeners } from 'node:events';
import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { Clock } from '../kernel/clock.js';
import { asWorker } from '../kernel/connection-use.js';
import { UnitOfWork, type Unit } from '../kernel/unit-of-work.js';
import { CommandFold } from './command-fold.js';
import { type Consumer, sideOf, typesOf } from './consumer.js';
import { ConsumerBatch, type BatchPorts, type BatchResult } from './consumer-batch.js';
import { ConsumerRuns } from './consumer-runs.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerSettings } from './consumer-settings.js';
import { ConsumerStore } from './consumer-store.js';
import { type DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import { DueRetries } from './due-retries.js';
import { DueRuns } from './due-runs.js';
import { EventCapture } from './event-capture.js';
import { EventLog } from './event-log.js';
import { Reconciler } from './reconciler.js';
import { compareWithRegistered, type Retired } from './retired.js';
import { type RunBound, scheduleText } from './run-condition.js';
import { StopReports } from './stop-reports.js';
import { StreamRetry } from './stream-retry.js';
import { type WakeUp, WakeUpTransport } from './wake-up-transport.js';
import { WakeUps } from './wake-ups.js';

/** Told after a batch has committed changes of this consumer. */
export type BatchListener = (consumer: Consumer) => void;

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
  /** Consumer → events that it has handled in this process. */
  private readonly handled = new Map<string, number>();
  private readonly retries: DueRetries;
  private readonly stops = new StopReports();
  private readonly stopping = new AbortController();
  private readonly running: ConsumerRuns;
  private readonly dueRuns: DueRuns;
  private readonly reconciler: Reconciler;
  private reconciling: Promise<void> | undefined;

  constructor(
    private readonly units: UnitOfWork,
    log: EventLog,
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
    const report = (consumer: Consumer, result: BatchResult) => this.report(consumer, result);
    this.running = new ConsumerRuns({ ...ports, batch: this.batch, clock, lanes: CONCURRENCY, report, stop: this.stopping.signal });
    this.dueRuns = new DueRuns(ports);
    this.reconciler = this.newReconciler();
    this.commandFold = new CommandFold(ports, registry, this.batch, report, clock);
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
    this.registry.retire([...(retired.consumers ?? []), ...consumers.flatMap(({ renamedFrom }) => renamedFrom ?? [])]);
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
        renamedFrom: consumer.renamedFrom,
        entities: consumer.entities,
      })),
    );
    this.capture.onAppend(this.commandFold);
    this.capture.onCommitted((events) => this.wakeUps.committed(events));
    // A command must not find a long history to fold while it holds a shard.
    for (const consumer of consumers) if (consumer.runBy === 'command') await this.catchUp(consumer);
  }

  /** Workers only: receives wake-ups and reconciles. */
  async start(): Promise<void> {
    await this.transport.listen(async (wakeUp) => {
      if (this.registry.has(wakeUp.consumer) && !this.stopping.signal.aborted) await asWorker(() => this.woken(this.registry.named(wakeUp.consumer), wakeUp));
    }, CONCURRENCY);
    void this.arrange();
    this.reconciling = asWorker(() => this.reconciler.runUntil(this.stopping.signal));
  }

  /** True in a process that runs consumers. */
  get isWorking(): boolean {
    return this.reconciling !== undefined && !this.stopping.signal.aborted;
  }

  /** No new batches; resolves when the running ones are done, or after `drainMs`: what a batch has not committed by then another worker reads again. */
  async stop(drainMs: number): Promise<void> {
    this.stopping.abort();
    const running = Promise.all([this.reconciling, this.running.ended(), this.retries.ended()]);
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

  /** Runs a consumer, whatever it waits for, until it has nothing to read, or somebody else is at it. @throws what is transient. */
  catchUp(consumer: Consumer): Promise<void> {
    return this.running.catchUp(consumer);
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
    const { clock, dueRuns, letters, registry, store } = this;
    const catchUp = async (consumer: Consumer, atMostMs: number, bound?: RunBound) => {
      if (!this.running.has(consumer.name) && this.running.size >= RUNNING_AT_ONCE) return;
      await this.atMost(
        atMostMs,
        this.reported(consumer.name, () => this.running.catchUp(consumer, bound)),
      );
    };
    const retry = (consumer: Consumer, atMostMs: number) =>
      this.atMost(
        atMostMs,
        this.reported(consumer.name, () => this.retries.run(consumer)),
      );
    return new Reconciler({ clock, dueRuns, letters, registry, store, catchUp, retry, reconcileEveryMs: this.settings.reconcileEveryMs });
  }

  /** An operator's retry of a held stream sends the same message as an event does: where no event is found, letters are looked for. The reconciler looks for them anyway. */
  private async woken(consumer: Consumer, { forced, schedule }: WakeUp): Promise<void> {
    const before = this.handledBy(consumer);
    await this.reported(consumer.name, () => (forced ? this.catchUp(consumer) : this.runIfDue(consumer)));
    if (schedule !== undefined && schedule !== scheduleOf(consumer)) void this.arrange(); // another version of the code did, or Redis was set back
    if (this.handledBy(consumer) === before && (forced || !consumer.waitsFor)) await this.reported(consumer.name, () => this.retries.run(consumer));
  }

  private async runIfDue(consumer: Consumer): Promise<void> {
    const verdict = await this.dueRuns.verdictOn(consumer);
    if (verdict.runs) await this.running.catchUp(consumer, verdict.bound);
    else if (verdict.dueInMs !== undefined) this.reconciler.lookWithin(verdict.dueInMs);
  }

  /** Wake-ups by the clock; where they cannot be arranged, the reconciler knows the slots all the same. */
  private async arrange(): Promise<void> {
    const { consumers } = this.registry;
    const scheduled = consumers.flatMap(({ name, waitsFor }) => (waitsFor?.kind === 'scheduled' ? [{ consumer: name, schedule: waitsFor }] : []));
    const unscheduled = [...consumers.filter(({ waitsFor }) => waitsFor?.kind !== 'scheduled').map(({ name }) => name), ...this.registry.retiredNames];
    try {
      await this.transport.arrange({ scheduled, unscheduled });
    } catch (error) {
      this.logger.warn(`Scheduled wake-ups could not be arranged (${String(error)}); workers look for themselves`);
    }
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

const scheduleOf = ({ waitsFor }: Consumer): string | undefined => (waitsFor?.kind === 'scheduled' ? scheduleText(waitsFor) : undefined);
