import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';

export interface QueuedCommandOptions<C = never> {
  /** BullMQ queue, prefixed with the application's own prefix. */
  readonly queue: string;
  /**
   * `sql`: the handler's unit of work also marks the job done, so its effect happens exactly once.
   * `external`: the handler runs with no transaction open and may run again after a crash: pass `MessageContext.idempotencyKey` on.
   */
  readonly effect: 'sql' | 'external';
  /** Default 5. A run that kills its process counts. */
  readonly attempts?: number;
  /** First pause between attempts in milliseconds, doubled each time, with full jitter. Default 1,000, at most 5 minutes. */
  readonly backoffMs?: number;
  /** After this many milliseconds `MessageContext.signal` aborts and the attempt has failed. Default 30,000. */
  readonly timeoutMs?: number;
  /** How many run at once in one process, over the queue. Default 4. */
  readonly concurrency?: number;
  /**
   * For `sql`: as many jobs that are queued at once may run together, one after the other in one transaction, with one ticket in BullMQ. What one of them writes the later
   * ones see, and all keep their locks until the last has ended; if one fails, the others are run again without it, and it alone. `concurrency` counts such batches.
   * At most 100, not with `sequenceBy`. Default 1: each has a transaction and a ticket of its own.
   */
  readonly batchSize?: number;
  /** As in BullMQ: jobs of priority 0 come first, then 1, 2, … up to 2,097,152. Default 0. */
  readonly priority?: number;
  /** A job runs this many milliseconds after it was queued, not sooner. Default 0. */
  readonly delayMs?: number;
  /**
   * Jobs with one key run one after the other, in the order in which they were committed, whatever command they are: so begin it with what it is the key of,
   * as in `order-17`. Letters, digits and ._:@/+=-, at most 200. A job keeps its place while it is delayed, tried again or parked, and holds back the later ones.
   * Default none: they run side by side.
   */
  readonly sequenceBy?: (command: C) => string;
}

export interface QueuedCommandDefinition extends Required<Omit<QueuedCommandOptions, 'sequenceBy'>> {
  readonly name: string;
  readonly commandClass: Type<object>;
  readonly sequenceBy?: (command: object) => string;
}

const QUEUED_COMMAND = 'tandem:queued-command';
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;
const OPTIONS: Readonly<Record<keyof QueuedCommandOptions, true>> = {
  ...{ queue: true, effect: true, attempts: true, backoffMs: true, timeoutMs: true },
  ...{ concurrency: true, batchSize: true, priority: true, delayMs: true, sequenceBy: true },
};
const DEFAULTS = { attempts: 5, backoffMs: 1_000, timeoutMs: 30_000, concurrency: 4, batchSize: 1, priority: 0, delayMs: 0 };
const LEAST: Readonly<typeof DEFAULTS> = { attempts: 1, backoffMs: 0, timeoutMs: 1, concurrency: 1, batchSize: 1, priority: 0, delayMs: 0 };
/** BullMQ's. */
const MOST_PRIORITY = 2_097_152;
/** A ticket names each of its jobs. */
const MOST_TOGETHER = 100;

/**
 * Makes a command one that may be queued: a saga returns it, or `DurableJobs.enqueue` takes it. The name is stored with the job.
 * `command` in `sequenceBy` is the decorated class, so a misspelt member does not compile.
 *
 * @example `@QueuedCommand('orders.ship', { queue: 'orders', effect: 'sql', sequenceBy: (command) => command.orderId })`
 * @throws TANDEM_WIRING for an unknown option, a name or queue that is not lower-case letters, digits, dots and dashes, an effect that there is not, a number that is not whole, too small or too large, a `sequenceBy` that is no function, a `batchSize` where jobs cannot run together.
 */
export function QueuedCommand<C extends object>(name: string, options: QueuedCommandOptions<C>): (target: Type<C>) => void {
  return (target) => {
    const where = `@QueuedCommand('${name}') on ${target.name}`;
    const definition: Omit<QueuedCommandDefinition, 'commandClass'> = { ...DEFAULTS, ...(knownOptions(where, options, OPTIONS) as QueuedCommandOptions<object>), name };
    const problem = problemOf(definition);
    if (problem) throw new TandemError('TANDEM_WIRING', `${where}: ${problem}`);
    Reflect.defineMetadata(QUEUED_COMMAND, Object.freeze({ ...definition, commandClass: target }), target);
  };
}

function problemOf(definition: Omit<QueuedCommandDefinition, 'commandClass'>): string | undefined {
  const { name, queue, effect } = definition;
  for (const given of [name, queue]) if (typeof given !== 'string' || !NAME.test(given)) return `"${given}" is not lower-case letters, digits, dots and dashes`;
  if (effect !== 'sql' && effect !== 'external') return `effect is 'sql' or 'external'`;
  const numbers = Object.entries(LEAST) as [keyof typeof LEAST, number][];
  const wrong = numbers.find(([option, least]) => !Number.isSafeInteger(definition[option]) || definition[option] < least);
  if (wrong) return `${wrong[0]} is a whole number from ${wrong[1]}`;
  if (definition.priority > MOST_PRIORITY) return `priority is at most ${MOST_PRIORITY}`;
  const { batchSize, sequenceBy } = definition;
  if (batchSize > MOST_TOGETHER) return `batchSize is at most ${MOST_TOGETHER}`;
  if (batchSize > 1 && effect !== 'sql') return `batchSize is for effect 'sql': what happens outside of the transaction cannot be undone with it`;
  if (batchSize > 1 && sequenceBy) return 'batchSize and sequenceBy cannot be used together: jobs of a sequence run one by one';
  return sequenceBy === undefined || typeof sequenceBy === 'function' ? undefined : 'sequenceBy is a function of the command';
}

/** The definition of a command class, or undefined when it has no `@QueuedCommand` of its own. */
export const queuedCommandOf = (commandClass: object): QueuedCommandDefinition | undefined =>
  Reflect.getOwnMetadata(QUEUED_COMMAND, commandClass) as QueuedCommandDefinition | undefined;
