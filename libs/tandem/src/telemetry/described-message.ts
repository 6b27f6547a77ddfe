import type { ExecutionContext } from '@nestjs/common';
import { type MessageKind, messageKindOf } from '../kernel/handler-metadata.js';

/** The message that an interceptor runs around. */
export interface DescribedMessage {
  readonly kind: MessageKind;
  /** Name of the message's class. */
  readonly type: string;
  readonly message: object;
  /** Name of the handler's class: an event may have several. */
  readonly handler: string;
}

/** Undefined outside of Tandem's pipeline, e.g. when the interceptor is used on an HTTP route. */
export function describedMessage(context: ExecutionContext): DescribedMessage | undefined {
  if (context.getType<string>() !== 'cqrs') return undefined;
  const message = context.getArgByIndex<object>(0);
  const kind = messageKindOf(context.getClass());
  return kind && { kind, type: message.constructor.name, message, handler: context.getClass().name };
}

/** What an error is known by: the code of a TandemError or of the database, else its class. Never its message, which may quote data. */
export function errorCode(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  if (typeof code === 'string') return code;
  return error instanceof Error ? error.name : typeof error;
}
