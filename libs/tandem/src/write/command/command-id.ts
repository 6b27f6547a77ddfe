import { AsyncContext } from '@nestjs/cqrs';
import { TandemError } from '../../kernel/errors.js';
import { type CommandId, currentMessage, currentNotes, type RequestNotes } from '../../kernel/message-context.js';

/** Compared byte for byte, on every database. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}$/;
const SHOWN_CHARS = 40;

const given = new WeakMap<AsyncContext, string>();

/** @throws TANDEM_COMMAND_ID_INVALID */
export function checkCommandId(id: unknown, what: string): string {
  if (typeof id === 'string' && ID.test(id)) return id;
  throw new TandemError('TANDEM_COMMAND_ID_INVALID', `${what} is ${typeof id === 'string' ? `"${id.slice(0, SHOWN_CHARS)}"` : 'no text'}, which is no command id`);
}

/** Says what makes a command repeatable, as the second argument of `commandBus.execute`. */
export const Idempotency = {
  /**
   * Names this command: sent again under the same id, by the same tenant and actor, it has no effect of its own and answers what it answered first, for as long as ids
   * are kept (`keepCommandIdsMs`). It may ride on a consistency level.
   *
   * @example await commandBus.execute(new PlaceOrder('17'), Idempotency.key(requestId));
   * @example await commandBus.execute(new PlaceOrder('17'), Idempotency.key(requestId, Consistency.strong()));
   * @throws TANDEM_COMMAND_ID_INVALID unless it is 1 to 128 letters, digits and ._:@/+=-, beginning with a letter or digit.
   */
  key<C extends AsyncContext = AsyncContext>(id: string, context: C = new AsyncContext() as C): C {
    given.set(context, checkCommandId(id, 'The key of Idempotency.key'));
    return context;
  },
} as const;

interface RequestKey extends CommandId {
  /** The message that is the request itself. */
  readonly request: string;
  used: number;
}

const REQUEST_KEY = Symbol('tandem:idempotency-key');

/** The commands that a request sends itself have ids of this key. */
export function noteRequestKey(notes: RequestNotes, request: string, key: CommandId): void {
  notes[REQUEST_KEY] = { ...key, request, used: 0 } satisfies RequestKey;
}

/** The id of a command that is sent now, by the message being handled: the one given with it, else one of the request's key. */
export function commandIdFor(context: AsyncContext | undefined): CommandId | undefined {
  const own = context && given.get(context);
  if (own !== undefined) return { id: own };
  const key = currentNotes()?.[REQUEST_KEY] as RequestKey | undefined;
  // What a command or an event causes in turn is part of it, or comes after it in no certain order.
  if (!key || currentMessage()?.messageId !== key.request) return undefined;
  key.used++;
  return { id: key.used === 1 ? key.id : `${key.id}#${key.used}`, content: key.content };
}
