import assert from 'node:assert/strict';
import { type ConsumedEvent, type Consumer, EventFailure } from '../../events/consumer.js';
import { type BatchResult, ConsumerBatch } from '../../events/consumer-batch.js';
import type { ConsumerSettings } from '../../events/consumer-settings.js';
import type { DeadLetter } from '../../events/dead-letter-store.js';
import { DomainEvent } from '../../events/domain-event.js';
import { StreamRetry } from '../../events/stream-retry.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { CONSUMER, type ConsumersUnderTest, registration, statusOf } from './consumers-under-test.js';
import { EVENT_TYPE } from './event-log-under-test.js';
import { together, upTo, WAIT_MS } from './expectations.js';

@DomainEvent(EVENT_TYPE, { version: 1, stream: (e) => ['contract', String(e.n)] })
class Happened {
  constructor(readonly n: number) {}
}

/** A process that dies after its batch's work and before COMMIT. */
export class Crash extends Error {}

interface EngineOptions extends Partial<Pick<Consumer, 'onError' | 'parallelism' | 'startFrom'>> {
  readonly settings?: Partial<ConsumerSettings>;
  /** Whether the process dies at this COMMIT. */
  readonly crashes?: () => boolean;
}

/** How the handler of an event fails: with an error that names it, with another one, or with one of the database. */
export type Fault = 'named' | 'unnamed' | 'statement';

const TAKEN = 'taken';

/** The batches of a consumer on the stores under test. Its effect is a row for each event, and another one where it is handled again. */
export class ConsumerEngine {
  /** What was committed, by the number that its handler took: a batch whose COMMIT is answered late may hear of it after the next one. */
  private readonly committed = new Map<number, string>();
  readonly faults = new Map<string, Fault>();
  private inserted = 0;
  readonly consumer: Consumer;
  private readonly batch: ConsumerBatch;
  private readonly retries: StreamRetry;

  constructor(
    private readonly subject: ConsumersUnderTest,
    private readonly options: EngineOptions = {},
  ) {
    const { onError = 'park', parallelism = 1, startFrom = 'beginning' } = options;
    this.consumer = {
      ...{ name: CONSUMER, kind: 'projection', consumerClass: Happened, events: [Happened], version: 1, startFrom },
      ...{ parallelism, onError, runBy: 'worker', entities: [] },
      handle: (unit, events) => this.handle(unit, events),
    };
    const settings = {
      ...{ batchSize: 100, batchBytes: 1_000_000, consumerAttempts: 2, consumerBackoffMs: 0 },
      ...{ reconcileEveryMs: 1_000, wakeUpWindowMs: 0, drainTimeoutMs: 0 },
      ...options.settings,
    };
    const ports = { units: subject.units, log: subject.log, store: subject.consumers, letters: subject.letters, settings };
    this.batch = new ConsumerBatch(ports);
    this.retries = new StreamRetry(ports);
  }

  /** `<stream>/<version>` of the events whose effects were committed, in the order in which they were handled. */
  get applied(): readonly string[] {
    return [...this.committed].toSorted(([a], [b]) => a - b).map(([, effect]) => effect);
  }

  register(): Promise<void> {
    return this.subject.consumers.register([registration({ startFrom: this.consumer.startFrom })]);
  }

  /** As a worker does it. Undefined when others hold what there is, or the process has died. */
  async runBatch(): Promise<BatchResult | undefined> {
    const { consumers, log, units } = this.subject;
    const { parallelism } = this.consumer;
    try {
      return await this.batch.run({
        consumer: this.consumer,
        claim: (unit) => consumers.claim(unit, { consumer: CONSUMER, exclusive: parallelism === 1, limit: Math.ceil(64 / parallelism), wait: false }),
        heads: async (unit, claim) => claim.heads ?? log.heads(unit),
        attempt: (work) => units.run((unit) => this.crashing(work(unit)), { kind: 'consumer' }),
      });
    } catch (error) {
      if (error instanceof Crash || units.isTransient(error)) return undefined;
      throw error;
    }
  }

  /** Batches until nothing moves any more, in so many lanes. */
  async workOff(lanes = 1, isMoreComing: () => boolean = () => false): Promise<void> {
    const lane = async (): Promise<void> => {
      for (const end = Date.now() + WAIT_MS; ; assert.ok(Date.now() < end, 'batches go on for ever')) {
        const isLast = !isMoreComing();
        const result = await this.runBatch();
        if (result?.stopped !== undefined) return;
        if (isLast && result && !result.more && !result.advanced && (await statusOf(this.subject))!.lag === 0) return;
      }
    };
    await together(upTo(lanes).map(lane));
  }

  async retry(letter: DeadLetter): Promise<boolean> {
    return (await this.retries.run(this.consumer, letter)).handled > 0;
  }

  private async crashing<T>(work: Promise<T>): Promise<T> {
    const result = await work;
    if (this.options.crashes?.()) throw new Crash('killed before COMMIT');
    return result;
  }

  /** The same of the rows that are there. */
  async effects(): Promise<readonly string[]> {
    const keys = await this.subject.rows.keys();
    return keys.filter((key) => key !== TAKEN).map((key) => key.split('#')[0]!).toSorted(); // prettier-ignore
  }

  private async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    for (const { stored } of events) {
      const effect = `${stored.stream}/${stored.version}`;
      const number = ++this.inserted;
      await this.subject.rows.insert(`${effect}#${number}`);
      const fault = this.faults.get(effect);
      if (fault === 'statement') for (const _ of [1, 2]) await this.subject.rows.insert(TAKEN);
      if (fault) throw fault === 'named' ? new EventFailure(stored, new Error('poison')) : new Error('it went wrong');
      unit.afterCommit(() => this.committed.set(number, effect));
    }
  }
}
