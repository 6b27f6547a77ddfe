/** What the consumers' runtime needs of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class ConsumerSettings {
  abstract readonly batchSize: number;
  abstract readonly batchBytes: number;
  abstract readonly reconcileEveryMs: number;
  abstract readonly wakeUpWindowMs: number;
  abstract readonly consumerAttempts: number;
  abstract readonly consumerBackoffMs: number;
  abstract readonly drainTimeoutMs: number;
}
