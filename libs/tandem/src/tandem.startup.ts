import { Inject, Injectable, Logger } from '@nestjs/common';
import { StorageCheck } from './kernel/adapter.js';
import { ConnectionBudget } from './kernel/connection-budget.js';
import { ApplicationMap, type Provided } from './kernel/registry/application-map.js';
import { handlerProblems } from './kernel/registry/handler-rules.js';
import { reportWiring } from './kernel/registry/report-wiring.js';
import { messageKindOf } from './kernel/handler-metadata.js';
import { UnitOfWork } from './kernel/unit-of-work.js';
import type { Consumer } from './events/consumer.js';
import { checkConsumers, type DeclaredConsumer, eventNameProblems } from './events/consumer-rules.js';
import { ConsumerRuntime } from './events/consumer-runtime.js';
import { durableOf } from './events/durable.js';
import { DurableHandlers } from './events/durable-handlers.js';
import { onMarks } from './events/on.js';
import { JobOutbox } from './jobs/job-outbox.js';
import { JobRuntime } from './jobs/job-runtime.js';
import { projectionOf } from './read/projection/projection.js';
import { projectionConsumer } from './read/projection/projection-consumer.js';
import { Projections } from './read/projection/rebuild/projections.js';
import { RebuildWorkers } from './read/projection/rebuild/rebuild-workers.js';
import { RowStore } from './read/projection/row-store.js';
import { projectionProblems } from './read/projection/wiring.js';
import { queryProblems } from './read/query/query-rules.js';
import { CommandIdSweep } from './write/command/command-id-sweep.js';
import { unitOfWorkProblems } from './write/command/unit-of-work-rules.js';
import { queuedCommandProblems, queuedCommandsOf } from './write/queued-command-rules.js';
import { durableSagaOf } from './write/saga/durable-saga.js';
import { sagaConsumer } from './write/saga/saga-consumer.js';
import { ConsistencyChecker } from './consistency/consistency-checker.js';
import { checkRules } from './consistency/declared-rules.js';
import { type ResolvedSettings, TANDEM_SETTINGS } from './tandem.options.js';

/** From a set of modules to a running application and back, in order: check, register, start, stop. */
@Injectable()
export class TandemStartup {
  private started = false;

  constructor(
    @Inject(TANDEM_SETTINGS) private readonly settings: ResolvedSettings,
    private readonly application: ApplicationMap,
    private readonly storage: StorageCheck,
    private readonly rows: RowStore,
    private readonly outbox: JobOutbox,
    private readonly consumers: ConsumerRuntime,
    private readonly durable: DurableHandlers,
    private readonly jobs: JobRuntime,
    private readonly commandIds: CommandIdSweep,
    private readonly checker: ConsistencyChecker,
    private readonly budget: ConnectionBudget,
    private readonly units: UnitOfWork,
    private readonly rebuilds: RebuildWorkers,
    private readonly projections: Projections,
  ) {}

  /** Before anything is served. @throws TANDEM_WIRING with every mistake at once; what StorageCheck throws. */
  async prepare(): Promise<void> {
    const { provided } = this.application;
    const declared = checkConsumers(provided.flatMap(declaredConsumer));
    const rules = checkRules(provided);
    const queries = provided.filter(({ type }) => messageKindOf(type) === 'query').map(({ type }) => type);
    // Those without a method are reported with the consumers.
    const projections = [...new Set(provided.map(({ type }) => type).filter((type) => projectionOf(type) && onMarks(type).length > 0))];
    const problems = [
      ...this.settings.problems,
      ...handlerProblems(this.application, this.settings.inheritGlobalEnhancers),
      ...declared.problems,
      ...eventNameProblems(provided),
      ...queuedCommandProblems(provided),
      ...unitOfWorkProblems(provided, this.units),
      ...projectionProblems(projections, this.rows, { readDataSource: this.units.readDataSource, syncStrategies: this.settings.syncStrategies }),
      ...queryProblems(queries, projections),
      ...rules.problems,
    ];
    reportWiring(problems, this.settings.wiringErrors);
    await this.storage.verify();
    this.outbox.expect(queuedCommandsOf(provided).map(({ name }) => name));
    const consumers = declared.sound.map((consumer) => this.consumerOf(consumer));
    reportWiring(await this.consumers.missing(consumers, this.settings.retired), this.settings.wiringErrors);
    await this.consumers.register(consumers);
    this.checker.add(rules.sound);
  }

  /** When handlers are registered: a worker begins to take work. */
  async start(): Promise<void> {
    if (this.settings.role !== 'api') {
      this.started = true;
      await this.consumers.start();
      await this.projections.atStart(this.settings.rebuild);
      this.rebuilds.start();
      await this.jobs.start(queuedCommandsOf(this.application.provided));
      this.commandIds.start();
    }
    await this.budget.tell();
  }

  /** Takes no more work; resolves when what runs is done, or its time is up. */
  async stop(): Promise<void> {
    if (!this.started) return;
    const { drainTimeoutMs } = this.settings;
    const { consumers, rebuilds, jobs, commandIds } = this;
    const results = await Promise.allSettled([consumers.stop(drainTimeoutMs), rebuilds.stop(drainTimeoutMs), jobs.stop(drainTimeoutMs), commandIds.stop()]);
    for (const result of results) if (result.status === 'rejected') new Logger('Tandem').error(`Stopping: ${String(result.reason)}`);
  }

  private declared({ instance, name, type }: DeclaredConsumer): Consumer {
    const { handlerTimeoutMs, syncStrategies } = this.settings;
    if (durableOf(type)) return this.durable.consumerOf(type, handlerTimeoutMs);
    if (durableSagaOf(type)) return sagaConsumer(instance!, this.outbox, handlerTimeoutMs);
    return projectionConsumer(instance!, this.rows, handlerTimeoutMs, syncStrategies[name]);
  }

  private consumerOf(declared: DeclaredConsumer): Consumer {
    const consumer = this.declared(declared);
    // Where it is only warned of: no command can fold what is in another data source.
    const runBy = this.units.readDataSource === undefined ? consumer.runBy : 'worker';
    return { ...consumer, runBy, retiredTypes: this.settings.retired.types?.[consumer.name] };
  }
}

function declaredConsumer(provided: Provided): DeclaredConsumer[] {
  const definitions = [durableOf(provided.type), durableSagaOf(provided.type), projectionOf(provided.type)];
  return definitions.flatMap((definition) => (definition ? [{ ...provided, name: definition.name }] : []));
}
