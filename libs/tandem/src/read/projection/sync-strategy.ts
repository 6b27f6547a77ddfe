/** When a projection is brought up to date. All strategies are one loop with different callers, so switching is free. */
export type SyncStrategy = { readonly kind: 'immediate' } | { readonly kind: 'eventual' };

export const SyncStrategy = {
  /** The command folds its own events before its COMMIT: no reader ever sees the old row. The command pays for it. */
  immediate: (): SyncStrategy => ({ kind: 'immediate' }),
  /** A wake-up job after COMMIT, many events to a transaction under load. The default. */
  eventual: (): SyncStrategy => ({ kind: 'eventual' }),
} as const;
