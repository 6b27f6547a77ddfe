import 'reflect-metadata';
import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';

export interface DurableOptions {
  /** Where a new handler begins in the log. Default `now`: adding one to an old log handles nothing that was before. Events that `HistoryImport` appended are never handled. */
  readonly startFrom?: 'now' | 'beginning';
  /** The name that it had before: its checkpoints and dead letters go over to the new one, once. Leave it there until no code with the old name runs any more. */
  readonly renamedFrom?: string;
}

export interface DurableDefinition extends DurableOptions {
  readonly name: string;
  readonly startFrom: 'now' | 'beginning';
}

const DURABLE = 'tandem:durable';
const OPTIONS: Readonly<Record<keyof DurableOptions, true>> = { startFrom: true, renamedFrom: true };
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;

/**
 * Makes an `@EventsHandler` a consumer of the log, with a stable name: a worker handles each event in a transaction that repositories of the log's data source join, so what it
 * writes there happens exactly once; what it does elsewhere may happen again, with `MessageContext.idempotencyKey` to tell. One that fails is tried again and then parked, as of a
 * projection. Without this decorator an `@EventsHandler` stays in memory: it hears of what its own process publishes, at most once.
 *
 * @example
 * @EventsHandler(OrderPlaced)
 * @Durable('orders.audit')
 * export class AuditOrders implements IEventHandler<OrderPlaced> { … }
 * @throws TANDEM_WIRING for an unknown option, and a name that is not lower-case letters, digits, dots and dashes.
 */
export function Durable(name: string, options: DurableOptions = {}): ClassDecorator {
  return (target) => {
    const where = `@Durable('${name}') on ${target.name}`;
    const given = knownOptions(where, options, OPTIONS);
    if (!NAME.test(name)) throw new TandemError('TANDEM_WIRING', `${where}: a name is lower-case letters, digits, dots and dashes`);
    Reflect.defineMetadata(DURABLE, Object.freeze({ startFrom: 'now', ...given, name } satisfies DurableDefinition), target);
  };
}

/** The definition of a handler class, or undefined when it has no `@Durable` of its own. */
export const durableOf = (handlerClass: object): DurableDefinition | undefined => Reflect.getOwnMetadata(DURABLE, handlerClass) as DurableDefinition | undefined;
