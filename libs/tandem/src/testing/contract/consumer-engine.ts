import { type ConsumedEvent, type Consumer, EventFailure } from '../../events/consumer.js';
import { type BatchResult, ConsumerBatch } from '../../events/consumer-batch.js';
import type { ConsumerSettings } from '../../events/consumer-settings.js';
import type { DeadLetter } from '../../events/dead-letter-store.js';
import { DomainEvent } from '../../events/domain-event.js';
import { StreamRetry } from '../../events/stream-retry.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { CONSUMER, type ConsumersUnderTest, registration, statusOf } from './consumers-under-test.js';
import { EVENT_TYPE } from './event-log-under-test.js';
import { upTo } from './expectations.js';

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

/** The batches of a consumer on the stores under test. Its effect is a row for each event: `<stream>/<version>`. */
export class ConsumerEngine {
  /** Effects in the order in which they were committed. */
  readonly applied: string[] = [];
  /** Effects whose handler fails; true: it names the event. */
  readonly faults = new Map<string, boolean>();
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
      for (;;) {
        const isLast = !isMoreComing();
        const result = await this.runBatch();
        if (result?.stopped !== undefined) return;
        if (isLast && result && !result.more && !result.advanced && (await statusOf(this.subject))!.lag === 0) return;
      }
    };
    await Promise.all(upTo(lanes).map(lane));
  }

  retry(letter: DeadLetter): Promise<boolean> {
    return this.retries.run(this.consumer, letter);
  }

  private async crashing<T>(work: Promise<T>): Promise<T> {
    const result = await work;
    if (this.options.crashes?.()) throw new Crash('killed before COMMIT');
    return result;
  }

  private async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
    for (const { stored } of events) {
      const effect = `${stored.stream}/${stored.version}`;
      const isNamed = this.faults.get(effect);
      if (isNamed !== undefined) throw isNamed ? new EventFailure(stored, new Error('poison')) : new Error('a statement failed');
      await this.subject.rows.insert(effect);
      unit.afterCommit(() => this.applied.push(effect));
    }
  }
}
