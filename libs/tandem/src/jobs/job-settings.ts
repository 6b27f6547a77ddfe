/** What the jobs' runtime needs of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class JobSettings {
  abstract readonly jobLeaseMs: number;
  abstract readonly keepDoneJobsMs: number;
  abstract readonly maxQueuedTickets: number;
  abstract readonly reconcileEveryMs: number;
  abstract readonly drainTimeoutMs: number;
}
