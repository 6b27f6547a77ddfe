/**
 * Every worker's own look into SQL: which consumers are behind their heads and need not wait for more, and which held streams are due.
 * So no wake-up needs to be reliable, and projections go on while the queue is away. A consumer with a long way to go keeps nobody waiting.
 */
import { Logger } from '@nestjs/common';
import type { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import type { ConsumerRegistry } from './consumer-registry.js';
import type { ConsumerStore } from './consumer-store.js';
import type { DeadLetterStore } from './dead-letter-store.js';
import type { DueRuns } from './due-runs.js';
import type { RunBound, Verdict } from './run-condition.js';

/** Consumers that are looked after at once. */
const LANES = 4;

export interface ReconcilerPorts {
  readonly store: ConsumerStore;
  readonly letters: DeadLetterStore;
  readonly registry: ConsumerRegistry;
  readonly clock: Clock;
  readonly reconcileEveryMs: number;
  readonly dueRuns: DueRuns;
  /** Runs a consumer until it is idle, or has come to the bound, or until `atMostMs` have passed: it then goes on by itself. Reports its errors. */
  readonly catchUp: (consumer: Consumer, atMostMs: number, bound?: RunBound) => Promise<void>;
  /** Tries its held streams again that are due, in the same way. */
  readonly retry: (consumer: Consumer, atMostMs: number) => Promise<void>;
}

export class Reconciler {
  private readonly logger = new Logger('Tandem');

  /** When something is known to be due, by this process's clock. */
  private dueAt = Infinity;
  private alarm = new AbortController();

  constructor(private readonly ports: ReconcilerPorts) {}

  /** A consumer will be due then: it is not left waiting for the next look. */
  lookWithin(ms: number): void {
    const at = this.ports.clock.now() + Math.ceil(ms);
    if (at >= this.dueAt) return;
    this.dueAt = at;
    this.alarm.abort();
  }

  /** Looks at once, then every `reconcileEveryMs`, up to five times slower while there is nothing to do; and when it knows of something that is due. */
  async runUntil(stop: AbortSignal): Promise<void> {
    const { reconcileEveryMs } = this.ports;
    stop.addEventListener('abort', () => this.alarm.abort(), { once: true });
    let pause = 0;
    while (!stop.aborted) {
      await this.sleep(pause, stop);
      if (stop.aborted) return;
      this.dueAt = Infinity;
      try {
        pause = (await this.look(stop)) ? reconcileEveryMs : Math.min(Math.max(pause * 1.5, reconcileEveryMs), reconcileEveryMs * 5);
      } catch (error) {
        this.logger.warn(`The reconciler could not look: ${String(error)}`);
        pause = reconcileEveryMs;
      }
    }
  }

  private async sleep(ms: number, stop: AbortSignal): Promise<void> {
    const { clock } = this.ports;
    const until = clock.now() + ms;
    let left = Math.min(ms, this.dueAt - clock.now());
    do {
      this.alarm = new AbortController();
      await clock.sleep(Math.max(left, 0), this.alarm.signal);
      left = Math.min(until, this.dueAt) - clock.now();
    } while (this.alarm.signal.aborted && left > 0 && !stop.aborted);
  }

  /** True when there was something to do. */
  private async look(stop: AbortSignal): Promise<boolean> {
    const { catchUp, dueRuns, letters, reconcileEveryMs, registry, retry, store } = this.ports;
    const running = (await store.status()).filter(({ consumer, state }) => state === 'running' && registry.has(consumer));
    const due = new Set(await letters.dueConsumers(running.map(({ consumer }) => consumer)));
    const consumers = running.map(({ consumer }) => registry.named(consumer));
    const verdicts = await dueRuns.verdicts(consumers, running);
    for (const verdict of verdicts.values()) if (!verdict.runs && verdict.dueInMs !== undefined) this.lookWithin(verdict.dueInMs);
    const names = consumers.map(({ name }) => name).filter((name) => verdicts.get(name)!.runs || due.has(name));
    const found = names.length > 0;
    const lane = async () => {
      for (let name = names.shift(); name !== undefined && !stop.aborted; name = names.shift()) {
        const consumer = registry.named(name);
        const run = runOf(consumer, verdicts.get(name)!);
        if (run) await catchUp(consumer, reconcileEveryMs, run.bound);
        if (due.has(name) && !stop.aborted) await retry(consumer, reconcileEveryMs);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return found;
  }
}

/** Of a consumer that halts, its next batch tries a held stream again; what it waits for is no reason to let that wait. */
function runOf({ onError }: Consumer, verdict: Verdict): { readonly bound?: RunBound } | undefined {
  if (verdict.runs) return verdict;
  return onError === 'halt' ? {} : undefined;
}
