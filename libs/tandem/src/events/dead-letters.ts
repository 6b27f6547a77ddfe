import { Injectable, Logger } from '@nestjs/common';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { type Consumer, typesOf } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerStore } from './consumer-store.js';
import { type DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import { EventLog, type EventMetadata, shardOf } from './event-log.js';
import { metadataOf } from './event-metadata.js';
import { WakeUps } from './wake-ups.js';

/** A failed event as it stands in the log, and what waits behind it. */
export interface InspectedDeadLetter {
  readonly letter: DeadLetter;
  readonly metadata: EventMetadata;
  readonly schemaVersion: number;
  /** JSON, as it is stored. It may hold what an operator should not see. */
  readonly payload: string;
  /** Later events of the stream that this consumer handles, by now: they come as soon as the stream goes on. */
  readonly waiting: number;
}

/** The operator's view of events that failed. */
@Injectable()
export class DeadLetters {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly letters: DeadLetterStore,
    private readonly store: ConsumerStore,
    private readonly registry: ConsumerRegistry,
    private readonly wakeUps: WakeUps,
    private readonly log: EventLog,
    private readonly units: UnitOfWork,
  ) {}

  /** At most `limit` (default 100), of one consumer or of all. */
  list(filter: { readonly consumer?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    return this.letters.list({ limit: 100, ...filter });
  }

  /**
   * The event that holds back a stream. Undefined when it does not, or no more.
   * @throws TANDEM_WIRING for a consumer that this application does not have.
   */
  async inspect({
    consumer: name,
    tenant = '',
    stream,
  }: {
    readonly consumer: string;
    readonly tenant?: string;
    readonly stream: string;
  }): Promise<InspectedDeadLetter | undefined> {
    const types = typesOf(this.registry.named(name));
    const generation = (await this.store.status()).find(({ consumer }) => consumer === name)!.generation;
    const shard = shardOf(tenant, stream);
    return this.units.run(
      async (unit) => {
        const letter = (await this.letters.held(unit, name, generation, [shard])).find((each) => each.tenant === tenant && each.stream === stream);
        if (!letter) return undefined;
        const { heads } = await this.log.heads(unit, [shard]);
        const [failed, ...later] = await this.log.readStreamKeys(unit, { tenant, stream, from: letter, upTo: heads.get(shard) ?? 0 });
        const [event] = await this.log.readEvents(unit, failed ? [failed] : []);
        if (!event) return undefined;
        const { payload, schemaVersion } = event;
        return { letter, metadata: metadataOf(event), schemaVersion, payload, waiting: later.filter(({ type }) => types.includes(type)).length };
      },
      { kind: 'snapshot' },
    );
  }

  /**
   * Tries again at once, attempts counted anew; a halted consumer runs again. Returns how many streams.
   * @throws TANDEM_WIRING for a consumer that this application does not have.
   */
  async retry(filter: { readonly consumer: string; readonly tenant?: string; readonly stream?: string }): Promise<number> {
    const consumer = this.registry.named(filter.consumer);
    const count = await this.letters.retryNow(filter);
    await this.goOn(consumer);
    return count;
  }

  /**
   * Gives up the event that failed: the stream goes on behind it, at once; a halted consumer runs again. The reason is logged, and stands
   * in the letter until a worker has come to it. Returns how many streams.
   * @throws TANDEM_WIRING for a consumer that this application does not have.
   */
  async discard(filter: { readonly consumer: string; readonly tenant?: string; readonly stream: string }, reason: string): Promise<number> {
    const consumer = this.registry.named(filter.consumer);
    const count = await this.letters.discard(filter, reason);
    if (count > 0) this.logger.warn(`The failed event of ${filter.stream} was discarded in ${consumer.name}: ${reason}`);
    await this.goOn(consumer);
    return count;
  }

  private async goOn(consumer: Consumer): Promise<void> {
    const status = (await this.store.status()).find(({ consumer: name }) => name === consumer.name);
    if (status?.state === 'halted') await this.store.setState(consumer.name, 'running', null);
    this.wakeUps.force([consumer]);
  }
}
