import { Injectable, Logger } from '@nestjs/common';
import { syncText } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { type ConsumerStatus, ConsumerStore } from './consumer-store.js';
import { WakeUps } from './wake-ups.js';

export interface ConsumerOverview extends ConsumerStatus {
  /** The sync strategy by which this process runs it, in words; undefined for a consumer that its code does not have. */
  readonly sync?: string;
}

/** The operator's view of projections and sagas: how far they are, whether they run. */
@Injectable()
export class Consumers {
  private readonly logger = new Logger('Tandem');

  constructor(
    private readonly store: ConsumerStore,
    private readonly registry: ConsumerRegistry,
    private readonly wakeUps: WakeUps,
  ) {}

  /** Of every process, by name. */
  async status(): Promise<readonly ConsumerOverview[]> {
    const { registry } = this;
    return (await this.store.status()).map((status) => (registry.has(status.consumer) ? { ...status, sync: syncText(registry.named(status.consumer)) } : status));
  }

  /**
   * No batch begins after this, in any process, until `resume`; what runs ends first. The reason stands in the status.
   * @throws TANDEM_WIRING for a consumer that this application does not have.
   */
  async pause(name: string, reason: string): Promise<void> {
    await this.store.setState(this.registry.named(name).name, 'paused', reason);
    this.logger.warn(`${name} was paused: ${reason}`);
  }

  /**
   * A paused or halted consumer runs again, from where it stands, and tries again at once what is due of its dead letters.
   * @throws TANDEM_WIRING for a consumer that this application does not have.
   */
  async resume(name: string): Promise<void> {
    const consumer = this.registry.named(name);
    await this.store.setState(name, 'running', null);
    this.logger.log(`${name} was resumed`);
    this.wakeUps.force([consumer]);
  }
}
