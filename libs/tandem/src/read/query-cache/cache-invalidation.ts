import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown, Optional } from '@nestjs/common';
import { Clock } from '../../kernel/clock.js';
import type { Consumer } from '../../events/consumer.js';
import { ConsumerRuntime } from '../../events/consumer-runtime.js';
import { entityName, InvalidationChannel } from './invalidation-channel.js';
import { QueryCache } from './query-cache.js';

/** Stands for every entity: a free projection need not say what it writes. */
const EVERYTHING = '*';
/** Milliseconds before names that could not be sent are sent again. */
const RESEND_MS = 1_000;

/** Drops cached answers when a projection has committed: in this process at once, in the others through the channel. */
@Injectable()
export class CacheInvalidation implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Tandem');
  private readonly unsent = new Set<string>();
  private readonly stopping = new AbortController();
  private sending: Promise<void> | undefined;

  constructor(
    private readonly cache: QueryCache,
    private readonly clock: Clock,
    runtime: ConsumerRuntime,
    @Optional() @Inject(InvalidationChannel) private readonly channel?: InvalidationChannel,
  ) {
    runtime.onBatch((consumer) => this.changed(consumer));
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.channel?.subscribe(
      (entities) => this.drop(entities),
      () => this.cache.invalidateAll(),
    );
  }

  /** After the last batches have been drained, so that their changes are still told. */
  async onApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    await this.sending;
    await this.channel?.stop();
  }

  /** The consumer has committed changes of its entities. */
  changed(consumer: Consumer): void {
    if (consumer.kind !== 'projection') return;
    const names = consumer.entities.length > 0 ? consumer.entities.map(entityName) : [EVERYTHING];
    this.drop(names);
    if (!this.channel) return;
    for (const name of names) this.unsent.add(name);
    this.sending ??= this.send(this.channel).finally(() => (this.sending = undefined));
  }

  private drop(entities: readonly string[]): void {
    if (entities.includes(EVERYTHING)) this.cache.invalidateAll();
    else this.cache.invalidate(entities);
  }

  /** One message at a time; what changes meanwhile goes into the next. Names that were not sent stay until they are, or the process ends. */
  private async send(channel: InvalidationChannel): Promise<void> {
    let failures = 0;
    while (this.unsent.size > 0) {
      const names = [...this.unsent];
      this.unsent.clear();
      try {
        await channel.publish(names);
        failures = 0;
      } catch (error) {
        for (const name of names) this.unsent.add(name);
        if (failures++ === 0) this.logger.warn(`Other processes were not told what changed and are told again every second: ${String(error)}`);
        if (this.stopping.signal.aborted) return;
        await this.clock.sleep(RESEND_MS, this.stopping.signal);
      }
    }
  }
}
