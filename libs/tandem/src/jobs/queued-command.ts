import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';

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

/**
 * Makes a command one that may be queued: a saga returns it, or `DurableJobs.enqueue` takes it. The name is stored with the job.
 * @throws TANDEM_WIRING for a name or queue that is not lower-case letters, digits, dots and dashes.
 */
export function QueuedCommand(name: string, options: QueuedCommandOptions): ClassDecorator {
  return (target) => {
    for (const given of [name, options.queue]) {
      if (!NAME.test(given)) throw new TandemError('TANDEM_WIRING', `@QueuedCommand('${name}') on ${target.name}: "${given}" is not lower-case letters, digits, dots and dashes`);
    }
    const definition: Omit<QueuedCommandDefinition, 'commandClass'> = { attempts: 5, backoffMs: 1_000, timeoutMs: 30_000, concurrency: 4, ...options, name };
    Reflect.defineMetadata(QUEUED_COMMAND, Object.freeze({ ...definition, commandClass: target }), target);
  };
}

/** The definition of a command class, or undefined when it has no `@QueuedCommand` of its own. */
export const queuedCommandOf = (commandClass: object): QueuedCommandDefinition | undefined =>
  Reflect.getOwnMetadata(QUEUED_COMMAND, commandClass) as QueuedCommandDefinition | undefined;
