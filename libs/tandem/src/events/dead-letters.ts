import { Injectable, Logger } from '@nestjs/common';
import type { Consumer } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerStore } from './consumer-store.js';
import { type DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import { WakeUps } from './wake-ups.js';

/** The operator's view of events that failed. */
@Injectable()
export class DeadLetters {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly letters: DeadLetterStore,
    private readonly store: ConsumerStore,
    private readonly registry: ConsumerRegistry,
    private readonly wakeUps: WakeUps,
  ) {}

  /** At most `limit` (default 100), of one consumer or of all. */
  list(filter: { readonly consumer?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    return this.letters.list({ limit: 100, ...filter });
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
    this.wakeUps.signal([consumer]);
  }
}
