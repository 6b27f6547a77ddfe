/** What one process does for one rebuild: fills beside others, looks whether it can be swapped, swaps it, cleans up. */
import type { BatchPorts } from '../../../events/consumer-batch.js';
import { ConsumerBatch } from '../../../events/consumer-batch.js';
import type { Consumer } from '../../../events/consumer.js';
import { ConsumerRuns } from '../../../events/consumer-runs.js';
import { DueRetries, type DueRetryPorts } from '../../../events/due-retries.js';
import { describeError } from '../../../events/dead-letter.js';
import { SHARDS } from '../../../events/event-log.js';
import { StreamRetry } from '../../../events/stream-retry.js';
import type { Clock } from '../../../kernel/clock.js';
import type { ProjectionConsumer } from '../projection-consumer.js';
import { GenerationConsumerStore, lettersOf } from './generation-stores.js';
import type { Rebuild, RebuildStore, ShadowTables } from './rebuild-store.js';

export interface RebuildPorts extends BatchPorts {
  readonly rebuilds: RebuildStore;
  readonly shadows: ShadowTables;
  readonly clock: Clock;
}

/** `moved`: look again at once. `idle`: others are at it, or something is not due yet. `swapped`: its rows are live. */
export type StepOutcome = 'moved' | 'idle' | 'swapped' | 'blocked';

/** Batches of one rebuild in this process. */
const LANES = 4;
const PAUSE_MS = 20;
/** How long the live generation may stand still for the rebuilt one to pass it, in milliseconds. */
const CATCH_UP_MS = 3_000;
const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);

type Positions = ReadonlyMap<number, number>;

export class RebuildRun {
  private readonly store: GenerationConsumerStore;
  private readonly runs: ConsumerRuns;
  private readonly retries: DueRetries;
  private readonly consumer: Consumer;

  constructor(
    private readonly ports: RebuildPorts,
    private readonly projection: ProjectionConsumer,
    private readonly rebuild: Rebuild,
    private readonly stop: AbortSignal,
  ) {
    const { clock, letters, rebuilds, shadows } = ports;
    this.store = new GenerationConsumerStore(ports.store, rebuilds, rebuild);
    this.consumer = { ...projection, runBy: 'worker', handle: projection.into(shadows.rows(rebuild.tables, projection.entities)) };
    const own: BatchPorts = { ...ports, store: this.store };
    // What stops a rebuild is told by its state.
    const report = (): void => undefined;
    this.runs = new ConsumerRuns({ ...own, batch: new ConsumerBatch(own), clock, lanes: LANES, report, stop });
    const streams = new StreamRetry(own);
    const retry: DueRetryPorts['retry'] = async (consumer, letter) => (await streams.run(consumer, letter)).handled > 0;
    this.retries = new DueRetries({ letters: lettersOf(letters, rebuild.generation), retry, lanes: LANES, stop });
  }

  /** @throws what is transient. */
  async fillOn(): Promise<StepOutcome> {
    await this.fill('filling');
    await this.retries.run(this.consumer);
    if (this.stop.aborted || (await this.lag()) > this.ports.settings.batchSize) return 'idle';
    const letters = await this.ports.letters.list({ consumer: this.consumer.name, generation: this.rebuild.generation });
    if (letters.some(({ state }) => state !== 'parked')) return 'idle';
    const why = await this.whyNot(letters.length);
    if (why !== undefined) return this.block(why);
    return this.swap();
  }

  /** Also from where another process has left it. @throws what is transient. */
  async swap(): Promise<StepOutcome> {
    const { shadows } = this.ports;
    try {
      const result = await shadows.swap({ rebuild: this.rebuild, catchUp: () => this.passLive('swapping') });
      if (this.store.stoppedBy !== undefined) return this.block(this.store.stoppedBy);
      return result === 'swapped' ? 'swapped' : 'idle';
    } catch (error) {
      if (this.ports.units.isTransient(error)) throw error;
      return this.block(`its tables could not be swapped: ${describeError(error)}`);
    }
  }

  private async block(reason: string): Promise<StepOutcome> {
    await this.ports.rebuilds.change(this.rebuild, ['filling'], { state: 'blocked', reason });
    return 'blocked';
  }

  private async whyNot(parked: number): Promise<string | undefined> {
    const { allowed, tables } = this.rebuild;
    if (parked > 0 && !allowed.deadLetters)
      return `${parked} ${parked === 1 ? 'stream is' : 'streams are'} held back by events that failed (generation ${this.rebuild.generation} in DeadLetters): retry or discard them, or allow it with \`allowDeadLetters\``;
    if (allowed.rowsWithoutEvents) return undefined;
    const missing = await this.ports.shadows.missingRows(tables, this.projection.entities, () => this.passLive('filling'));
    if (missing === 0) return undefined;
    return `${missing >= 100 ? '100 live rows or more' : missing === 1 ? '1 live row' : `${missing} live rows`} would be lost, since no event of the log makes ${missing === 1 ? 'it' : 'them'}: give ${missing === 1 ? 'it' : 'them'} events, or allow it with \`allowRowsWithoutEvents\``;
  }

  /** Until the rebuilt generation has read what the live one had when this began. False when it takes too long, or an event fails. */
  private async passLive(during: 'filling' | 'swapping'): Promise<boolean> {
    const { clock, letters, rebuilds, store } = this.ports;
    const { consumer: name, generation } = this.rebuild;
    const live = (await store.positions([name], ALL_SHARDS)).get(name);
    const began = clock.now();
    for (;;) {
      await this.fill(during);
      if (this.store.stoppedBy !== undefined || this.stop.aborted) return false;
      if (isPast(await rebuilds.positions(name, generation), live)) break;
      if (clock.now() - began > CATCH_UP_MS) return false;
      await clock.sleep(PAUSE_MS, this.stop);
    }
    return this.rebuild.allowed.deadLetters || (await letters.list({ consumer: name, generation, limit: 1 })).length === 0;
  }

  private async lag(): Promise<number> {
    const { heads } = await this.ports.log.heads();
    const at = await this.ports.rebuilds.positions(this.rebuild.consumer, this.rebuild.generation);
    return [...heads].reduce((sum, [shard, head]) => sum + Math.max(0, head - (at.get(shard) ?? 0)), 0);
  }

  /** Until there is nothing to read, or somebody else is at it. */
  private fill(during: 'filling' | 'swapping'): Promise<void> {
    this.store.during = during;
    return this.runs.catchUp(this.consumer);
  }
}

const isPast = (at: Positions, live: Positions | undefined): boolean => [...(live ?? [])].every(([shard, seq]) => (at.get(shard) ?? 0) >= seq);
