/** Port, filled by the job adapter: carries "this consumer has something to read" to some worker. It may lose or repeat them: the reconciler finds what lags. */
export abstract class WakeUpTransport {
  /** One message per consumer, dropped where one is already waiting. Rejects while the transport is away. */
  abstract signal(consumers: readonly string[]): Promise<void>;

  /** Starts to receive. At most `concurrency` handlers run at once in this process. */
  abstract listen(handler: (consumer: string) => Promise<void>, concurrency: number): Promise<void>;

  /** Takes no more messages; resolves when running handlers are done or after `drainMs`. */
  abstract stop(drainMs: number): Promise<void>;
}
