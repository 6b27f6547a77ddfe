import { Injectable, Logger } from '@nestjs/common';
import { ConsumerRegistry } from '../../../events/consumer-registry.js';
import { Consumers } from '../../../events/consumers.js';
import { ConsumerStore } from '../../../events/consumer-store.js';
import { Clock } from '../../../kernel/clock.js';
import { TandemError } from '../../../kernel/errors.js';
import { knownOptions } from '../../../kernel/known-options.js';
import { UnitOfWork } from '../../../kernel/unit-of-work.js';
import { isProjection, type ProjectionConsumer } from '../projection-consumer.js';
import { type ProjectionStatus, ProjectionStatuses, type RebuildProgress } from './projection-status.js';
import { type Rebuild, RebuildStore, ShadowTables } from './rebuild-store.js';
import { RebuildWorkers } from './rebuild-workers.js';

export interface RebuildOptions {
  /** Called about twice a second, and when it has ended. Default nobody. */
  readonly onProgress?: (progress: RebuildProgress) => void;
  /** Cancels the rebuild when it aborts: the live rows stay as they are. Default never. */
  readonly signal?: AbortSignal;
  /** Swap although some streams are held back, and lack their later events until those are retried. Default false. */
  readonly allowDeadLetters?: boolean;
  /** Swap although live rows have no counterpart that the log can make; they are gone then. Default false. */
  readonly allowRowsWithoutEvents?: boolean;
}

export interface RebuildResult {
  /** Of the rows that are live now. */
  readonly generation: number;
  /** Events in the log when it had ended. */
  readonly events: number;
  readonly durationMs: number;
}

const OPTIONS: Readonly<Record<keyof RebuildOptions, true>> = { onProgress: true, signal: true, allowDeadLetters: true, allowRowsWithoutEvents: true };
const LOOK_EVERY_MS = 250;
const NOBODY = (): void => undefined;

/** Read entities as an operator sees them: how far they are, and how they are made anew. */
@Injectable()
export class Projections {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly registry: ConsumerRegistry,
    private readonly consumers: Consumers,
    private readonly store: ConsumerStore,
    private readonly rebuilds: RebuildStore,
    private readonly shadows: ShadowTables,
    private readonly workers: RebuildWorkers,
    private readonly statuses: ProjectionStatuses,
    private readonly units: UnitOfWork,
    private readonly clock: Clock,
  ) {}

  /**
   * Makes a projection's rows anew from the whole log, in tables beside the live ones, while those are served and kept up to date; then the new tables take
   * their place. Every worker helps, and so does this process. It is in SQL: when this process ends the others finish it, and calling again joins it.
   * Call it outside of command handlers, and expect minutes.
   * @throws TANDEM_WIRING for a name that this application does not have. TANDEM_REBUILD_REFUSED for a saga, a free projection without `tables`, and tables with
   * foreign keys or triggers. TANDEM_REBUILD_BLOCKED when an operator has to decide. TANDEM_REBUILD_CANCELLED. TANDEM_REBUILD_RUNNING while newer code rebuilds it.
   */
  async rebuild(name: string, options: RebuildOptions = {}): Promise<RebuildResult> {
    const { allowDeadLetters, allowRowsWithoutEvents, onProgress = NOBODY, signal } = knownOptions('rebuild', options, OPTIONS);
    const projection = this.rebuildable(name);
    signal?.throwIfAborted();
    const rebuild = await this.units.outside(() => this.begin(projection, { deadLetters: allowDeadLetters === true, rowsWithoutEvents: allowRowsWithoutEvents === true }));
    return this.units.outside(() => this.follow(projection, rebuild, { onProgress, signal }));
  }

  /** Begins one, or joins the one that is there, and does not wait for it: workers do it. @throws as `rebuild` does. */
  async beginRebuild(name: string): Promise<void> {
    await this.units.outside(() => this.begin(this.rebuildable(name), { deadLetters: false, rowsWithoutEvents: false }));
  }

  /** Of workers: code that is newer than the rows. Never throws. */
  async atStart(mode: 'automatic' | 'manual'): Promise<void> {
    const live = new Map((await this.store.registered()).map(({ liveVersion, name }) => [name, liveVersion]));
    for (const projection of this.registry.consumers.filter(isProjection)) {
      const made = live.get(projection.name);
      if (made === undefined || made >= projection.version) continue;
      const what = `The rows of ${projection.name} were made by version ${made} of its code, and this is version ${projection.version}`;
      if (mode === 'manual') this.logger.warn(`${what}: call rebuild('${projection.name}') of Projections`);
      else await this.beginAtStart(projection, what);
    }
  }

  private async beginAtStart({ name }: ProjectionConsumer, what: string): Promise<void> {
    try {
      await this.beginRebuild(name);
      this.logger.log(`${what}: they are rebuilt beside the live ones`);
    } catch (error) {
      this.logger.warn(`${what}, but they could not be rebuilt: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /**
   * Ends a rebuild and removes its tables and checkpoints; the live rows stay as they are. False when there is none, or it has been swapped by now.
   * @throws TANDEM_WIRING for a name that this application does not have. TANDEM_REBUILD_RUNNING in the moment of the swap.
   */
  async cancel(name: string): Promise<boolean> {
    const projection = this.rebuildable(name);
    const [rebuild] = await this.rebuilds.list(name);
    if (!rebuild || rebuild.state === 'swapped') return false;
    if (rebuild.state === 'swapping') throw new TandemError('TANDEM_REBUILD_RUNNING', `The rebuilt rows of ${name} are taking their place right now`);
    if (!(await this.rebuilds.change(rebuild, ['creating', 'filling', 'blocked', 'cancelled'], { state: 'cancelled' }))) return this.cancel(name);
    const cancelled: Rebuild = { ...rebuild, state: 'cancelled' };
    await this.shadows.drop(cancelled);
    await this.rebuilds.forget(cancelled);
    this.logger.warn(`The rebuild of ${projection.name} was cancelled`);
    return true;
  }

  /** As `pause` of Consumers: the live rows stand still until `resume`; a rebuild goes on. @throws TANDEM_WIRING, TANDEM_REBUILD_RUNNING in the moment of a swap. */
  pause(name: string, reason: string): Promise<void> {
    return this.consumers.pause(this.projection(name).name, reason);
  }

  /** @throws TANDEM_WIRING, TANDEM_REBUILD_RUNNING in the moment of a swap. */
  resume(name: string): Promise<void> {
    return this.consumers.resume(this.projection(name).name);
  }

  /**
   * Empties the live tables and reads the log from its beginning into them: readers see empty rows until it has caught up. `rebuild` does it unseen.
   * @throws TANDEM_NOT_CONFIRMED without `{ confirm: true }`. TANDEM_WIRING, TANDEM_REBUILD_REFUSED, TANDEM_REBUILD_RUNNING.
   */
  async reset(name: string, { confirm }: { readonly confirm?: true } = {}): Promise<void> {
    const projection = this.rebuildable(name);
    if (confirm !== true) throw new TandemError('TANDEM_NOT_CONFIRMED', `reset('${name}') removes every row of ${projection.entities.map((entity) => entity.name).join(', ')}`);
    await this.units.outside(() => this.rebuilds.reset(name, projection.version, projection.entities));
    this.logger.warn(`${name} was reset and reads the log from its beginning`);
    this.workers.replaced(projection);
  }

  /** Of every projection of this application, or of one. @throws TANDEM_WIRING */
  async status(): Promise<readonly ProjectionStatus[]>;
  async status(name: string): Promise<ProjectionStatus>;
  async status(name?: string): Promise<ProjectionStatus | readonly ProjectionStatus[]> {
    if (name === undefined) return this.statuses.of(this.registry.consumers.filter(({ kind }) => kind === 'projection').map((consumer) => consumer.name));
    return (await this.statuses.of([this.projection(name).name]))[0]!;
  }

  /**
   * The SQL that a rebuild would send, for a DBA where the application has no right to make tables: run it as somebody who may, then call `rebuild`, which takes the
   * tables that it finds. Columns and indexes may be changed on the way. It holds for the next rebuild only: each one has table names of its own.
   * @throws as `rebuild` does.
   */
  async prepare(name: string): Promise<string> {
    const projection = this.rebuildable(name);
    await this.refuseHindered(projection);
    const [running] = await this.rebuilds.list(name);
    const tables = running?.tables ?? (await this.nextTables(projection));
    const statements = await this.shadows.script(tables, { entities: projection.entities, like: projection.rebuildLike });
    return statements.map((statement) => `${statement};\n`).join('');
  }

  private async nextTables(projection: ProjectionConsumer) {
    const live = (await this.store.positions([projection.name], [0])).get(projection.name)?.generation;
    return this.shadows.names(projection.entities, await this.rebuilds.nextGeneration(projection.name), live);
  }

  private async begin(projection: ProjectionConsumer, allowed: Rebuild['allowed']): Promise<Rebuild> {
    const { entities, name, version } = projection;
    await this.refuseHindered(projection);
    const [there] = await this.rebuilds.list(name);
    // Of older code, which this one has replaced.
    if (there && there.version < version && there.state !== 'swapped') await this.cancel(name);
    const live = (await this.store.positions([name], [0])).get(name)?.generation;
    return this.rebuilds.begin({ consumer: name, version, allowed, tables: (generation) => this.shadows.names(entities, generation, live) });
  }

  private async refuseHindered({ entities, name }: ProjectionConsumer): Promise<void> {
    const problems = await this.shadows.problems(entities);
    if (problems.length > 0) throw new TandemError('TANDEM_REBUILD_REFUSED', `${name} cannot be rebuilt: ${problems.join('; ')}`);
  }

  private async follow(
    projection: ProjectionConsumer,
    rebuild: Rebuild,
    { onProgress, signal }: { readonly onProgress: (progress: RebuildProgress) => void; readonly signal?: AbortSignal },
  ): Promise<RebuildResult> {
    const began = this.clock.now();
    const { generation } = rebuild;
    let help: Promise<void> | undefined;
    const failures: Error[] = [];
    for (;;) {
      const [now] = await this.rebuilds.list(projection.name);
      if (now?.generation !== generation) return this.result(projection.name, generation, began);
      if (signal?.aborted && now.state !== 'swapped' && now.state !== 'swapping') {
        await this.cancel(projection.name);
        await help; // what this process had begun is undone by itself
        throw new TandemError('TANDEM_REBUILD_CANCELLED', `The rebuild of ${projection.name} was cancelled`, { cause: signal.reason });
      }
      if (now.state === 'blocked')
        throw new TandemError('TANDEM_REBUILD_BLOCKED', `The rebuild of ${projection.name} is blocked: ${now.reason}`, { data: { generation, reason: now.reason } });
      if (failures[0]) throw failures[0];
      onProgress(await this.statuses.progress(now));
      help ??= this.workers
        .help(projection)
        .catch((error: unknown) => failures.push(error instanceof Error ? error : new Error(String(error))))
        .then(() => (help = undefined));
      await Promise.race([help, this.clock.sleep(LOOK_EVERY_MS, signal)]);
      if (help === undefined) await this.clock.sleep(LOOK_EVERY_MS, signal);
    }
  }

  private async result(name: string, generation: number, began: number): Promise<RebuildResult> {
    const live = (await this.statuses.of([name]))[0]!;
    if (live.generation < generation) throw new TandemError('TANDEM_REBUILD_CANCELLED', `The rebuild of ${name} was cancelled`);
    return { generation, events: [...live.position.values()].reduce((sum, seq) => sum + seq, 0), durationMs: this.clock.now() - began };
  }

  private projection(name: string): ProjectionConsumer {
    const consumer = this.registry.named(name);
    if (isProjection(consumer)) return consumer;
    throw new TandemError('TANDEM_REBUILD_REFUSED', `${name} is a ${consumer.kind}, and what it has done is done`, { next: 'Only projections keep rows that can be made anew.' });
  }

  private rebuildable(name: string): ProjectionConsumer {
    const projection = this.projection(name);
    if (projection.entities.length > 0) return projection;
    throw new TandemError('TANDEM_REBUILD_REFUSED', `${name} (${projection.consumerClass.name}) names neither an entity nor \`tables\`, so nobody knows what to make anew`, {
      next: 'Declare what it writes: @Projection(name, { tables: [Entity] }), and take the names of tables in its SQL from the context, its fourth argument.',
    });
  }
}
