import { knownOptions } from '../../kernel/known-options.js';

/** When a projection is brought up to date. All strategies are one loop with different callers, so switching is free. */
export type SyncStrategy = { readonly kind: 'immediate' } | { readonly kind: 'eventual' };

type NoOptions = Readonly<Record<string, never>>;

const strategy = <K extends SyncStrategy['kind']>(kind: K, given: object): { readonly kind: K } => ({ kind, ...knownOptions(`SyncStrategy.${kind}`, given, {}) });

/** They throw TANDEM_WIRING for an unknown option. */
export const SyncStrategy = {
  /** The command folds its own events before its COMMIT: no reader ever sees the old row. The command pays for it. */
  immediate: (options: NoOptions = {}): SyncStrategy => strategy('immediate', options),
  /** A wake-up job after COMMIT, many events to a transaction under load. The default. */
  eventual: (options: NoOptions = {}): SyncStrategy => strategy('eventual', options),
} as const;
