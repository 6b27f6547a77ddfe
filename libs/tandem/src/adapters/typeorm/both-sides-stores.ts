/** Sagas in the log's data source, projections in the read side's: which one is asked follows from the unit, or from the consumer's name. */
import { type Claim, type ClaimRequest, type Checkpoint, ConsumerStore, type ConsumerRegistration, type ConsumerState } from '../../events/consumer-store.js';
import { type DeadLetter, DeadLetterStore, type NewDeadLetter } from '../../events/dead-letter-store.js';
import { StorageCheck } from '../../kernel/adapter.js';
import type { Unit } from '../../kernel/unit-of-work.js';

/** One for each side. */
export interface Sides<S> {
  readonly log: S;
  readonly read: S;
}

type LetterFilter = Parameters<DeadLetterStore['retryNow']>[0];

const isProjection = ({ kind }: { readonly kind: string }): boolean => kind === 'projection';
const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Names of the projections of this process: filled when they are registered, before anything is served. */
export class ProjectionNames extends Set<string> {
  of<S>({ log, read }: Sides<S>, consumer: string): S {
    return this.has(consumer) ? read : log;
  }

  split(names: readonly string[]): Sides<readonly string[]> {
    return { log: names.filter((name) => !this.has(name)), read: names.filter((name) => this.has(name)) };
  }
}

export class BothSidesConsumerStore extends ConsumerStore {
  constructor(
    private readonly stores: Sides<ConsumerStore>,
    private readonly sideOf: (unit: Unit) => keyof Sides<unknown>,
    private readonly projections: ProjectionNames,
  ) {
    super();
  }

  async register(registrations: readonly ConsumerRegistration[]): Promise<void> {
    for (const { name } of registrations.filter(isProjection)) this.projections.add(name);
    await this.stores.log.register(registrations.filter((each) => !isProjection(each)));
    await this.stores.read.register(registrations.filter(isProjection));
  }

  registered(): ReturnType<ConsumerStore['registered']> {
    return this.ofBoth(
      (store) => store.registered(),
      ({ name }) => name,
    );
  }

  status(): ReturnType<ConsumerStore['status']> {
    return this.ofBoth(
      (store) => store.status(),
      ({ consumer }) => consumer,
    );
  }

  claim(unit: Unit, request: ClaimRequest): Promise<Claim | undefined> {
    return this.at(unit).claim(unit, request);
  }

  advance(unit: Unit, claim: Claim, checkpoints: readonly Checkpoint[]): Promise<void> {
    return this.at(unit).advance(unit, claim, checkpoints);
  }

  noteRun(unit: Unit, consumer: string, slotMicros: number): Promise<void> {
    return this.at(unit).noteRun(unit, consumer, slotMicros);
  }

  setState(consumer: string, state: ConsumerState, reason: string | null, unit?: Unit): Promise<void> {
    return this.projections.of(this.stores, consumer).setState(consumer, state, reason, unit);
  }

  async positions(consumers: readonly string[], shards: readonly number[], unit?: Unit): ReturnType<ConsumerStore['positions']> {
    const names = this.projections.split(consumers);
    const read = await this.stores.read.positions(names.read, shards, unit);
    return names.log.length === 0 ? read : new Map([...read, ...(await this.stores.log.positions(names.log, shards, unit))]);
  }

  private at(unit: Unit): ConsumerStore {
    return this.stores[this.sideOf(unit)];
  }

  /** A projection that was kept in the log's data source before is no consumer there any more. */
  private async ofBoth<R extends { readonly kind: string }>(ask: (store: ConsumerStore) => Promise<readonly R[]>, name: (row: R) => string): Promise<readonly R[]> {
    const [log, read] = await Promise.all([ask(this.stores.log), ask(this.stores.read)]);
    return [...log.filter((row) => !isProjection(row)), ...read.filter(isProjection)].sort((a, b) => byName(name(a), name(b)));
  }
}

export class BothSidesDeadLetterStore extends DeadLetterStore {
  constructor(
    private readonly stores: Sides<DeadLetterStore>,
    private readonly projections: ProjectionNames,
  ) {
    super();
  }

  hold(unit: Unit, letter: NewDeadLetter): Promise<void> {
    return this.of(letter).hold(unit, letter);
  }

  release(unit: Unit, letter: Pick<DeadLetter, 'consumer' | 'generation' | 'tenant' | 'stream'>): Promise<void> {
    return this.of(letter).release(unit, letter);
  }

  held(unit: Unit, consumer: string, generation: number | 'live', shards: readonly number[]): Promise<readonly DeadLetter[]> {
    return this.of({ consumer }).held(unit, consumer, generation, shards);
  }

  async list(filter: Parameters<DeadLetterStore['list']>[0] = {}): Promise<readonly DeadLetter[]> {
    const { consumer, consumers = consumer === undefined ? undefined : [consumer], ...rest } = filter;
    const { log, read } = consumers ? this.projections.split(consumers) : {};
    const letters = (await Promise.all([this.stores.log.list({ ...rest, consumers: log }), this.stores.read.list({ ...rest, consumers: read })])).flat();
    return letters.slice(0, rest.limit);
  }

  async dueConsumers(consumers: readonly string[]): Promise<readonly string[]> {
    const { log, read } = this.projections.split(consumers);
    return (await Promise.all([this.stores.log.dueConsumers(log), this.stores.read.dueConsumers(read)])).flat();
  }

  retryNow(filter: LetterFilter): Promise<number> {
    return this.of(filter).retryNow(filter);
  }

  discard(filter: LetterFilter & { readonly stream: string }, reason: string): Promise<number> {
    return this.of(filter).discard(filter, reason);
  }

  private of({ consumer }: { readonly consumer: string }): DeadLetterStore {
    return this.projections.of(this.stores, consumer);
  }
}

/** The tables of both data sources; the log's are named in tokens. */
export class BothSchemas extends StorageCheck {
  constructor(private readonly schemas: Sides<StorageCheck>) {
    super();
  }

  get logId(): string {
    return this.schemas.log.logId;
  }

  async verify(): Promise<void> {
    await this.schemas.log.verify();
    await this.schemas.read.verify();
  }
}
