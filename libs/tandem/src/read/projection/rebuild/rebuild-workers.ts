import { Injectable, Logger } from '@nestjs/common';
import { ConsumerRegistry } from '../../../events/consumer-registry.js';
import { ConsumerSettings } from '../../../events/consumer-settings.js';
import { ConsumerStore } from '../../../events/consumer-store.js';
import { describeError } from '../../../events/dead-letter.js';
import { DeadLetterStore } from '../../../events/dead-letter-store.js';
import { EventLog } from '../../../events/event-log.js';
import { SingleRuns } from '../../../events/single-runs.js';
import { WakeUps } from '../../../events/wake-ups.js';
import { Clock } from '../../../kernel/clock.js';
import { asWorker } from '../../../kernel/connection-use.js';
import { UnitOfWork } from '../../../kernel/unit-of-work.js';
import { CacheInvalidation } from '../../query-cache/cache-invalidation.js';
import { isProjection, type ProjectionConsumer } from '../projection-consumer.js';
import { type Rebuild, RebuildStore, ShadowTables } from './rebuild-store.js';
import { RebuildRun, type RebuildPorts, type StepOutcome } from './rebuild-run.js';

const IDLE_MS = 100;
/** While there is none, rebuilds are looked for so many times more seldom: who begins one helps at once. */
const IDLE_SLOWER = 5;
/** A swap takes less than this, unless nobody is at it any more. */
const ABANDONED_MS = 15_000;
const FAILURES_AT_MOST = 5;

/** Every worker helps with every rebuild of code like its own, and takes over from those that are gone. */
@Injectable()
export class RebuildWorkers {
  private readonly logger = new Logger('Tandem');
  private readonly stopping = new AbortController();
  private readonly runs = new SingleRuns();
  private readonly ports: RebuildPorts;
  private looking: Promise<void> | undefined;

  constructor(
    units: UnitOfWork,
    log: EventLog,
    store: ConsumerStore,
    letters: DeadLetterStore,
    settings: ConsumerSettings,
    private readonly clock: Clock,
    private readonly rebuilds: RebuildStore,
    shadows: ShadowTables,
    private readonly registry: ConsumerRegistry,
    private readonly wakeUps: WakeUps,
    private readonly cache: CacheInvalidation,
  ) {
    this.ports = { units, log, store, letters, settings, clock, rebuilds, shadows };
  }

  start(): void {
    this.looking = asWorker(() => this.keepLooking());
  }

  async stop(drainMs: number): Promise<void> {
    this.stopping.abort();
    const done = new AbortController();
    await Promise.race([Promise.all([this.looking, this.runs.ended()]), this.clock.sleep(drainMs, done.signal)]);
    done.abort();
  }

  /** Until the rebuild has ended, is blocked, or this process stops. Once at a time: who asks meanwhile waits for the same. */
  help(consumer: ProjectionConsumer): Promise<void> {
    return this.runs.run(consumer.name, () => this.ports.units.outside(() => asWorker(() => this.helpNow(consumer))), this.stopping.signal);
  }

  /** The rows have been replaced: what was kept of the old ones goes, here and elsewhere. */
  replaced(consumer: ProjectionConsumer): void {
    this.cache.changed(consumer);
    this.wakeUps.signal([consumer]);
  }

  private async keepLooking(): Promise<void> {
    const { signal } = this.stopping;
    const { reconcileEveryMs } = this.ports.settings;
    for (let pause = reconcileEveryMs; !signal.aborted;) {
      try {
        const rebuilds = await this.rebuilds.list();
        pause = rebuilds.length > 0 ? reconcileEveryMs : Math.min(pause * 1.5, reconcileEveryMs * IDLE_SLOWER);
        for (const { consumer } of rebuilds) {
          if (this.runs.has(consumer) || !this.registry.has(consumer)) continue;
          const own = this.registry.named(consumer);
          if (isProjection(own))
            void this.help(own).catch((error: unknown) => this.logger.warn(`The rebuild of ${consumer} could not go on here and is looked at again: ${String(error)}`));
        }
      } catch (error) {
        this.logger.warn(`Rebuilds could not be looked for: ${String(error)}`);
      }
      await this.clock.sleep(pause, signal);
    }
  }

  private async helpNow(consumer: ProjectionConsumer): Promise<void> {
    const { signal } = this.stopping;
    let run: { readonly key: string; readonly run: RebuildRun } | undefined;
    for (let failures = 0; !signal.aborted;) {
      const [rebuild] = await this.rebuilds.list(consumer.name);
      if (!rebuild || rebuild.state === 'blocked') return;
      const key = JSON.stringify([rebuild.generation, rebuild.allowed]);
      try {
        if (rebuild.version !== consumer.version || rebuild.state === 'cancelled' || rebuild.state === 'swapped') run = undefined;
        else if (run?.key !== key) run = { key, run: new RebuildRun(this.ports, consumer, rebuild, signal) };
        const outcome = await this.step(consumer, rebuild, run?.run);
        failures = 0;
        if (outcome === undefined) return;
        if (outcome === 'idle') await this.clock.sleep(IDLE_MS, signal);
      } catch (error) {
        if (!this.ports.units.isTransient(error) && ++failures >= FAILURES_AT_MOST) await this.block(rebuild, error);
        else await this.clock.sleep(IDLE_MS * 2 ** failures, signal);
      }
    }
  }

  /** Undefined: there is nothing that this process can do. */
  private async step(consumer: ProjectionConsumer, rebuild: Rebuild, run: RebuildRun | undefined): Promise<StepOutcome | undefined> {
    const { shadows } = this.ports;
    switch (rebuild.state) {
      case 'creating':
        return run && this.create(consumer, rebuild);
      case 'filling':
        return run && this.told(consumer, await run.fillOn());
      case 'swapping':
        if (run) return this.told(consumer, await run.swap());
        // Code that cannot go on with it can still finish it, or let the live rows go on.
        if (rebuild.stateAgeMs < ABANDONED_MS) return undefined;
        await shadows.swap({ rebuild, catchUp: async () => false });
        return 'moved';
      case 'swapped':
      case 'cancelled':
        await shadows.drop(rebuild);
        await this.rebuilds.forget(rebuild);
        return 'moved';
      case 'blocked':
        return undefined;
    }
  }

  private told(consumer: ProjectionConsumer, outcome: StepOutcome): StepOutcome {
    if (outcome !== 'swapped') return outcome;
    this.logger.log(`${consumer.name} was rebuilt`);
    this.replaced(consumer);
    return 'moved';
  }

  private async create(consumer: ProjectionConsumer, rebuild: Rebuild): Promise<StepOutcome> {
    const { shadows, units } = this.ports;
    try {
      if (!(await shadows.create(rebuild, { entities: consumer.entities, like: consumer.rebuildLike }))) return 'idle';
    } catch (error) {
      if (units.isTransient(error)) throw error;
      await this.block(rebuild, error);
      return 'blocked';
    }
    if (await this.rebuilds.change(rebuild, ['creating'], { state: 'filling' })) return 'moved';
    const [now] = await this.rebuilds.list(rebuild.consumer);
    // Cancelled meanwhile: nobody else knows that these tables are there.
    if (now?.generation !== rebuild.generation || now.state === 'cancelled') await shadows.drop({ ...rebuild, state: 'cancelled' });
    return 'moved';
  }

  private async block(rebuild: Rebuild, error: unknown): Promise<void> {
    const reason = `${describeError(error)} (where the application may not change tables, \`prepare\` of Projections writes the SQL for who may)`;
    this.logger.warn(`The rebuild of ${rebuild.consumer} is blocked: ${reason}`);
    await this.rebuilds.change(rebuild, ['creating', 'filling'], { state: 'blocked', reason });
  }
}
