import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerSettings } from './consumer-settings.js';
import type { AppendedEvent } from './event-log.js';
import { WakeUpTransport } from './wake-up-transport.js';

/**
 * Maps committed events to wake-up jobs: the first at once, then at most one per consumer and window. A quiet system projects
 * each command at once, a busy one puts many events into one transaction. A lost one costs a second: the reconciler looks too.
 * Only one message is on its way at a time, so that a slow queue gets fuller messages, not ever more of them.
 */
@Injectable()
export class WakeUps implements OnModuleDestroy {
  private readonly logger = new Logger('Tandem');
  private readonly lastSent = new Map<string, number>();
  private readonly waiting = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private sending = false;
  private away = false;

  constructor(
    private readonly registry: ConsumerRegistry,
    private readonly transport: WakeUpTransport,
    private readonly clock: Clock,
    private readonly settings: ConsumerSettings,
  ) {}

  /** For the consumers that a worker runs. Never throws and never waits. */
  committed(events: readonly AppendedEvent[]): void {
    const types = new Set(events.map(({ type }) => type));
    this.signal(this.registry.handling(types).filter(({ runBy }) => runBy === 'worker'));
  }

  signal(consumers: readonly Consumer[]): void {
    for (const { name } of consumers) this.waiting.add(name);
    if (!this.sending) this.sendDue();
  }

  onModuleDestroy(): void {
    this.flush();
  }

  private sendDue(): void {
    const before = this.clock.now() - this.settings.wakeUpWindowMs;
    this.send([...this.waiting].filter((name) => (this.lastSent.get(name) ?? 0) <= before));
    if (this.waiting.size > 0) this.timer ??= setTimeout(() => this.whenWindowEnds(), this.settings.wakeUpWindowMs);
  }

  private whenWindowEnds(): void {
    this.timer = undefined;
    if (!this.sending) this.flush();
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.send([...this.waiting]);
  }

  private send(names: readonly string[]): void {
    if (names.length === 0) return;
    const now = this.clock.now();
    for (const name of names) {
      this.lastSent.set(name, now);
      this.waiting.delete(name);
    }
    this.sending = true;
    this.transport
      .signal(names)
      .then(
        () => (this.away = false),
        (error: unknown) => {
          if (!this.away) this.logger.warn(`Wake-ups cannot be sent (${String(error)}); workers look for themselves until they can`);
          this.away = true;
        },
      )
      .finally(() => {
        this.sending = false;
        this.sendDue();
      });
  }
}
