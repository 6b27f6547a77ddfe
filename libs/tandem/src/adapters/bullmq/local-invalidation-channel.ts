import { InvalidationChannel } from '../../read/query-cache/invalidation-channel.js';

/** For an application that is one process. */
export class LocalInvalidationChannel extends InvalidationChannel {
  private readonly listeners: ((entities: readonly string[]) => void)[] = [];

  override get connected(): boolean {
    return true;
  }

  override publish(entities: readonly string[]): Promise<void> {
    for (const listener of this.listeners) listener(entities);
    return Promise.resolve();
  }

  override subscribe(onChanged: (entities: readonly string[]) => void): Promise<void> {
    this.listeners.push(onChanged);
    return Promise.resolve();
  }

  override stop(): Promise<void> {
    this.listeners.length = 0;
    return Promise.resolve();
  }
}
