import pg from 'pg';

export interface PoolCount {
  /** Before a connection is made. */
  ready(): Promise<void>;
  opened(): void;
  /** Awaited by whoever ends the pool. */
  ended(): Promise<void>;
}

type ConnectCallback = (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: unknown) => void) => void;

/** pg's pool, which tells when it begins and ends. TypeORM calls it with callbacks, BullMQ with promises. */
export function countedPool(count: PoolCount): typeof pg.Pool {
  return class CountedPool extends pg.Pool {
    constructor(config?: pg.PoolConfig) {
      super(config);
      count.opened();
    }

    override connect(): Promise<pg.PoolClient>;
    override connect(callback: ConnectCallback): void;
    override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | void {
      const connected = this.ending ? super.connect() : count.ready().then(() => super.connect());
      if (!callback) return connected;
      connected.then(
        (client) => callback(undefined, client, client.release.bind(client) as (release?: unknown) => void),
        (error: Error) => callback(error, undefined, () => undefined),
      );
    }

    override end(): Promise<void>;
    override end(callback: () => void): void;
    override end(callback?: (error?: Error) => void): Promise<void> | void {
      const ended = super.end().then(() => count.ended());
      if (!callback) return ended;
      ended.then(
        () => callback(),
        (error: Error) => callback(error),
      );
    }
  };
}
