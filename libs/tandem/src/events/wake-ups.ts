import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { ConsumerSettings } from './consumer-settings.js';
import type { AppendedEvent } from './event-log.js';
import { WakeUpTransport } from './wake-up-transport.js';

/** The shortest pause between two wake-ups of a consumer, in milliseconds: what comes within it is mostly of one moment. */
const SHORTEST_WINDOW_MS = 5;
/** So many signals within one window are load: the next window is twice as long. Fewer, and it is half as long. */
const UNDER_LOAD = 4;

/** How often a consumer is woken. */
interface Pace {
  windowMs: number;
  nextAt: number;
  /** Since the last message. */
  signals: number;
}

/**
 * Maps committed events to wake-up jobs: the first at once, then at most one per consumer and window. The window grows with the
 * load, up to `wakeUpWindowMs`: a quiet system projects each command at once, a busy one puts many events into one transaction.
 * A lost one costs a second: the reconciler looks too.
 * Only one message is on its way at a time, so that a slow queue gets fuller messages, not ever more of them.
 */
@Injectable()
export class WakeUps implements OnModuleDestroy {
  private readonly logger = new Logger('Tandem');
  private readonly paces = new Map<string, Pace>();
  private readonly waiting = new Set<string>();
  /** Of those, the ones that somebody waits for. */
  private readonly forced = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private sending = false;
  private away = false;

  constructor(
    private readonly registry: ConsumerRegistry,
    private readonly transport: WakeUpTransport,
    private readonly clock: Clock,
    private readonly settings: ConsumerSettings,
  ) {}

  /** For the consumers that a worker runs, unless they wait for the clock. Never throws and never waits. */
  committed(events: readonly AppendedEvent[]): void {
    const types = new Set(events.map(({ type }) => type));
    this.signal(this.registry.handling(types).filter(({ runBy, waitsFor }) => runBy === 'worker' && waitsFor?.kind !== 'scheduled'));
  }

  /** As {@link signal}: they run, whatever they wait for. */
  force(consumers: readonly Consumer[]): void {
    for (const { name } of consumers) this.forced.add(name);
    this.signal(consumers);
  }

  signal(consumers: readonly Consumer[]): void {
    for (const { name } of consumers) {
      this.waiting.add(name);
      this.paceOf(name).signals++;
    }
    if (!this.sending) this.sendDue();
  }

  onModuleDestroy(): void {
    this.flush();
  }

  private sendDue(): void {
    clearTimeout(this.timer);
    const now = this.clock.now();
    this.send([...this.waiting].filter((name) => this.paceOf(name).nextAt <= now));
    if (this.sending || this.waiting.size === 0) return;
    const next = Math.min(...[...this.waiting].map((name) => this.paceOf(name).nextAt));
    this.timer = setTimeout(() => this.sendDue(), next - now);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.send([...this.waiting]);
  }

  private paceOf(name: string): Pace {
    const known = this.paces.get(name);
    if (known) return known;
    const pace = { windowMs: this.shortest, nextAt: 0, signals: 0 };
    this.paces.set(name, pace);
    return pace;
  }

  private get shortest(): number {
    return Math.min(SHORTEST_WINDOW_MS, this.settings.wakeUpWindowMs);
  }

  private slowDown(pace: Pace): void {
    const { windowMs, signals } = pace;
    pace.windowMs = signals >= UNDER_LOAD ? Math.min(windowMs * 2, this.settings.wakeUpWindowMs) : Math.max(windowMs / 2, this.shortest);
    pace.nextAt = this.clock.now() + pace.windowMs;
    pace.signals = 0;
  }

  private send(names: readonly string[]): void {
    if (names.length === 0) return;
    for (const name of names) {
      this.slowDown(this.paceOf(name));
      this.waiting.delete(name);
    }
    this.sending = true;
    this.signalled(names)
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

  private async signalled(names: readonly string[]): Promise<void> {
    const forced = names.filter((name) => this.forced.delete(name));
    const others = names.filter((name) => !forced.includes(name));
    if (forced.length > 0) await this.transport.signal(forced, true);
    if (others.length > 0) await this.transport.signal(others);
  }
}
