import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';

export interface QueuedCommandOptions {
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
}

export interface QueuedCommandDefinition extends Required<QueuedCommandOptions> {
  readonly name: string;
  readonly commandClass: Type<object>;
}

const QUEUED_COMMAND = 'tandem:queued-command';
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;
const OPTIONS: Readonly<Record<keyof QueuedCommandOptions, true>> = { queue: true, effect: true, attempts: true, backoffMs: true, timeoutMs: true, concurrency: true };
const DEFAULTS = { attempts: 5, backoffMs: 1_000, timeoutMs: 30_000, concurrency: 4 };
const LEAST: Readonly<typeof DEFAULTS> = { attempts: 1, backoffMs: 0, timeoutMs: 1, concurrency: 1 };

/**
 * Makes a command one that may be queued: a saga returns it, or `DurableJobs.enqueue` takes it. The name is stored with the job.
 * @throws TANDEM_WIRING for an unknown option, a name or queue that is not lower-case letters, digits, dots and dashes, an effect that there is not, a number that is not whole or too small.
 */
export function QueuedCommand(name: string, options: QueuedCommandOptions): ClassDecorator {
  return (target) => {
    const where = `@QueuedCommand('${name}') on ${target.name}`;
    const definition: Omit<QueuedCommandDefinition, 'commandClass'> = { ...DEFAULTS, ...knownOptions(where, options, OPTIONS), name };
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
  return wrong && `${wrong[0]} is a whole number from ${wrong[1]}`;
}

/** The definition of a command class, or undefined when it has no `@QueuedCommand` of its own. */
export const queuedCommandOf = (commandClass: object): QueuedCommandDefinition | undefined =>
  Reflect.getOwnMetadata(QUEUED_COMMAND, commandClass) as QueuedCommandDefinition | undefined;
