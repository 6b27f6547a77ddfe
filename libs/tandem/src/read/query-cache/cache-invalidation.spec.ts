import type { Type } from '@nestjs/common';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../../events/consumer.js';
import type { BatchListener, ConsumerRuntime } from '../../events/consumer-runtime.js';
import { Clock } from '../../kernel/clock.js';
import { CacheInvalidation } from './cache-invalidation.js';
import { InvalidationChannel } from './invalidation-channel.js';
import type { QueryCache } from './query-cache.js';

class OrderView {}
class UserView {}
const consumer = (kind: Consumer['kind'], ...entities: Type[]) => ({ kind, entities }) as unknown as Consumer;

class RecordingChannel extends InvalidationChannel {
  connected = true;
  away = false;
  readonly published: (readonly string[])[] = [];
  tell!: (entities: readonly string[]) => void;
  lose!: () => void;
  stopped = false;
  async publish(entities: readonly string[]): Promise<void> {
    if (this.away) throw new Error('Redis is away');
    this.published.push(entities);
  }
  async subscribe(onChanged: (entities: readonly string[]) => void, onLost: () => void): Promise<void> {
    this.tell = onChanged;
    this.lose = onLost;
  }
  async stop(): Promise<void> {
    this.stopped = true;
  }
}

/** Sleeps until it is told to wake. */
class ManualClock extends Clock {
  private wakers: (() => void)[] = [];
  override sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      signal?.addEventListener('abort', () => resolve(), { once: true });
      this.wakers.push(resolve);
    });
  }
  get sleepers(): number {
    return this.wakers.length;
  }
  wake(): void {
    for (const waker of this.wakers.splice(0)) waker();
  }
}

describe('CacheInvalidation', () => {
  const cache = { invalidate: vi.fn(), invalidateAll: vi.fn() };
  let channel: RecordingChannel;
  let clock: ManualClock;
  let batch: BatchListener;
  let invalidation: CacheInvalidation;

  beforeEach(async () => {
    vi.clearAllMocks();
    channel = new RecordingChannel();
    clock = new ManualClock();
    invalidation = new CacheInvalidation(
      cache as unknown as QueryCache,
      clock,
      { onBatch: (listener: BatchListener) => (batch = listener) } as unknown as ConsumerRuntime,
      channel,
    );
    await invalidation.onApplicationBootstrap();
  });

  it('drops what a batch has changed here at once, and tells the other processes', async () => {
    batch(consumer('projection', OrderView, UserView));
    expect(cache.invalidate).toHaveBeenCalledWith(['OrderView', 'UserView']);
    await vi.waitFor(() => expect(channel.published).toEqual([['OrderView', 'UserView']]));
  });

  it('drops everything for a projection that does not say what it writes, here and elsewhere', async () => {
    batch(consumer('projection'));
    expect(cache.invalidateAll).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(channel.published).toHaveLength(1));
    channel.tell(channel.published[0]!);
    expect(cache.invalidateAll).toHaveBeenCalledTimes(2);
  });

  it('leaves the cache alone for a saga', () => {
    batch(consumer('saga'));
    expect([cache.invalidate.mock.calls, cache.invalidateAll.mock.calls, channel.published]).toEqual([[], [], []]);
  });

  it('drops what another process says, and everything when messages were lost', () => {
    channel.tell(['OrderView']);
    channel.lose();
    expect([cache.invalidate.mock.calls, cache.invalidateAll.mock.calls]).toEqual([[[['OrderView']]], [[]]]);
  });

  it('tells again what it could not tell, with what changed since, once each', async () => {
    channel.away = true;
    batch(consumer('projection', OrderView));
    await vi.waitFor(() => expect(clock.sleepers).toBe(1));
    batch(consumer('projection', UserView));
    batch(consumer('projection', OrderView));
    channel.away = false;
    clock.wake();
    await vi.waitFor(() => expect(channel.published).toEqual([['OrderView', 'UserView']]));
    batch(consumer('projection', UserView));
    await vi.waitFor(() => expect(channel.published).toHaveLength(2));
  });

  it('stops although the channel is away', async () => {
    channel.away = true;
    batch(consumer('projection', OrderView));
    await vi.waitFor(() => expect(clock.sleepers).toBe(1));
    await invalidation.onApplicationShutdown();
    expect(channel.stopped).toBe(true);
  });
});
