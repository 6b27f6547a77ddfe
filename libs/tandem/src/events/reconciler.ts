/**
 * Every worker's own look into SQL: which consumers are behind their heads, and which held streams are due. So no wake-up needs to
 * be reliable, and projections go on while the queue is away. A consumer with a long way to go keeps nobody waiting.
 */
import { Logger } from '@nestjs/common';
import type { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import type { ConsumerRegistry } from './consumer-registry.js';
import type { ConsumerStore } from './consumer-store.js';
import type { DeadLetterStore } from './dead-letter-store.js';

/** Consumers that are looked after at once. */
const LANES = 4;

export interface ReconcilerPorts {
  readonly store: ConsumerStore;
  readonly letters: DeadLetterStore;
  readonly registry: ConsumerRegistry;
  readonly clock: Clock;
  readonly reconcileEveryMs: number;
  /** Runs a consumer until it is idle, or until `atMostMs` have passed: it then goes on by itself. Reports its errors. */
  readonly catchUp: (consumer: Consumer, atMostMs: number) => Promise<void>;
  /** Tries its held streams again that are due, in the same way. */
  readonly retry: (consumer: Consumer, atMostMs: number) => Promise<void>;
}

export class Reconciler {
  private readonly logger = new Logger('Tandem');

  constructor(private readonly ports: ReconcilerPorts) {}

  /** Looks at once, then every `reconcileEveryMs`, up to five times slower while there is nothing to do. */
  async runUntil(stop: AbortSignal): Promise<void> {
    const { clock, reconcileEveryMs } = this.ports;
    let pause = 0;
    while (!stop.aborted) {
      await clock.sleep(pause, stop);
      if (stop.aborted) return;
      try {
        pause = (await this.look(stop)) ? reconcileEveryMs : Math.min(Math.max(pause * 1.5, reconcileEveryMs), reconcileEveryMs * 5);
      } catch (error) {
        this.logger.warn(`The reconciler could not look: ${String(error)}`);
        pause = reconcileEveryMs;
      }
    }
  }

  /** True when there was something to do. */
  private async look(stop: AbortSignal): Promise<boolean> {
    const { catchUp, letters, reconcileEveryMs, registry, retry, store } = this.ports;
    const running = (await store.status()).filter(({ consumer, state }) => state === 'running' && registry.has(consumer));
    const due = new Set(await letters.dueConsumers(running.map(({ consumer }) => consumer)));
    const names = running.filter(({ consumer, lag }) => lag > 0 || due.has(consumer)).map(({ consumer }) => consumer);
    const found = names.length > 0;
    const lane = async () => {
      for (let name = names.shift(); name !== undefined && !stop.aborted; name = names.shift()) {
        const consumer = registry.named(name);
        await catchUp(consumer, reconcileEveryMs);
        if (due.has(name) && !stop.aborted) await retry(consumer, reconcileEveryMs);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return found;
  }
}
