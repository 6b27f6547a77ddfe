import { Clock } from '../../kernel/clock.js';
import { InvalidationChannel } from '../../read/query-cache/invalidation-channel.js';
import type { OutageLog } from './outage-log.js';

const RESEND_MS = 500;
/** PostgreSQL takes 8,000 bytes at most; names are short, so this many always fit. */
const NAMES_IN_A_MESSAGE = 40;

interface Subscriber {
  onChanged(entities: readonly string[]): void;
  onLost(): void;
}

/**
 * Names of changed entities between processes, over a server that forgets messages nobody hears. A process that may have
 * missed some is told so (`onLost`): when its connection ends, and again when it is back. Names that could not be sent are
 * kept (there are only as many as entities) and sent later. A process also hears what it published itself.
 */
export abstract class RemoteInvalidationChannel extends InvalidationChannel {
  protected readonly clock = new Clock();
  protected readonly stopped = new AbortController();
  private readonly subscribers: Subscriber[] = [];
  private readonly unsent = new Set<string>();
  private sending?: Promise<void>;
  private hearing = false;
  private opened?: Promise<void>;

  constructor(protected readonly outage: OutageLog) {
    super();
  }

  override get connected(): boolean {
    return this.hearing;
  }

  override async publish(entities: readonly string[]): Promise<void> {
    for (const entity of entities) this.unsent.add(entity);
    this.sending ??= this.sendAll().finally(() => (this.sending = undefined));
    const sent = new AbortController();
    await Promise.race([this.sending, this.clock.sleep(RESEND_MS, sent.signal)]).finally(() => sent.abort());
  }

  private async sendAll(): Promise<void> {
    while (this.unsent.size > 0 && !this.stopped.signal.aborted) {
      const names = [...this.unsent].slice(0, NAMES_IN_A_MESSAGE);
      for (const name of names) this.unsent.delete(name); // one published from here on is a new message
      try {
        await this.send(JSON.stringify(names));
      } catch (error) {
        this.outage.report(error);
        for (const name of names) this.unsent.add(name);
        await this.clock.sleep(RESEND_MS, this.stopped.signal);
      }
    }
  }

  override async subscribe(onChanged: Subscriber['onChanged'], onLost: Subscriber['onLost']): Promise<void> {
    this.subscribers.push({ onChanged, onLost });
    this.opened ??= this.open();
    await this.opened;
  }

  override async stop(): Promise<void> {
    this.stopped.abort();
    this.hearing = false;
    await this.close();
  }

  protected abstract send(message: string): Promise<void>;
  /** Begins to listen and goes on by itself; resolves after the first try, well or badly. */
  protected abstract open(): Promise<void>;
  protected abstract close(): Promise<void>;

  /** From now on nothing is missed. */
  protected found(): void {
    if (this.stopped.signal.aborted) return;
    for (const subscriber of this.subscribers) subscriber.onLost();
    this.hearing = true;
  }

  protected lost(): void {
    if (!this.hearing) return;
    this.hearing = false;
    for (const subscriber of this.subscribers) subscriber.onLost();
  }

  protected received(message: string): void {
    const entities = namesIn(message);
    for (const subscriber of this.subscribers) {
      if (entities) subscriber.onChanged(entities);
      else subscriber.onLost();
    }
  }
}

/** Undefined for what no version of this channel wrote. */
function namesIn(message: string): readonly string[] | undefined {
  try {
    const names: unknown = JSON.parse(message);
    return Array.isArray(names) && names.every((name) => typeof name === 'string') ? names : undefined;
  } catch {
    return undefined; // not ours; the caller then forgets everything
  }
}
