import type { Redis } from 'ioredis';
import { RemoteInvalidationChannel } from './remote-invalidation-channel.js';
import type { RedisQueueServer } from './redis-queue-server.js';

const HEARTBEAT_MS = 2_000;

/** Redis pub/sub on one channel. A heartbeat finds connections that are dead without having been closed. */
export class RedisInvalidationChannel extends RemoteInvalidationChannel {
  private readonly channel: string;
  private subscriber?: Redis;
  private heartbeat?: NodeJS.Timeout;

  constructor(
    private readonly server: RedisQueueServer,
    queuePrefix: string,
  ) {
    super(server.outage);
    this.channel = `${queuePrefix}:tandem:changed`;
  }

  protected override async send(message: string): Promise<void> {
    await this.server.redis.publish(this.channel, message);
  }

  protected override async open(): Promise<void> {
    const subscriber = this.server.newClient({ autoResubscribe: false, enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: HEARTBEAT_MS });
    this.subscriber = subscriber;
    subscriber.on('error', (error) => this.outage.report(error));
    subscriber.on('close', () => this.lost());
    subscriber.on('message', (_channel, message) => this.received(message));
    subscriber.on('ready', () => void this.listenOn(subscriber));
    this.heartbeat = setInterval(() => void this.beat(subscriber), HEARTBEAT_MS).unref();
    await subscriber.connect().catch((error: unknown) => this.outage.report(error));
  }

  private async listenOn(subscriber: Redis): Promise<void> {
    try {
      await subscriber.subscribe(this.channel);
      this.found();
    } catch (error) {
      this.outage.report(error);
      if (!this.stopped.signal.aborted) subscriber.disconnect(true);
    }
  }

  private async beat(subscriber: Redis): Promise<void> {
    if (subscriber.status !== 'ready') return;
    try {
      await subscriber.ping();
    } catch (error) {
      if (this.stopped.signal.aborted) return;
      this.outage.report(error);
      this.lost();
      subscriber.disconnect(true);
    }
  }

  protected override close(): Promise<void> {
    clearInterval(this.heartbeat);
    this.subscriber?.disconnect();
    return Promise.resolve();
  }
}
