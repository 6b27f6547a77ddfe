/**
 * What is known about the message being handled, carried by AsyncLocalStorage from the HTTP request through command, event
 * and job. *Message id*: of this command, query, event or job. *Correlation id*: of the whole chain, set where it began.
 * *Causation id*: of the message that caused this one.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable } from '@nestjs/common';
import { newId } from './new-id.js';

export interface MessageFacts {
  readonly messageId: string;
  readonly correlationId: string;
  readonly causationId?: string;
  /** How many durable sagas, one after the other, have led to it. Default 0. */
  readonly depth?: number;
  /** Who acts, as the application's `identity` function said. */
  readonly actor?: string;
  readonly tenant?: string;
  /** W3C trace context of the caller. */
  readonly traceparent?: string;
  /** Inside a job, and in a command that was sent with an id: the same for every attempt, so an outside service can drop repeats. Elsewhere the message id. */
  readonly idempotencyKey?: string;
  /** The id that this command was sent with. */
  readonly commandId?: CommandId;
  /** Aborted when the message's time is up or the process is stopping. */
  readonly signal?: AbortSignal;
}

/** Names one wish of one caller, whose repeats have no effect of their own. */
export interface CommandId {
  readonly id: string;
  /** What its repeats must have in common, where that is not the content of the command: that of the request which it came with. */
  readonly content?: () => string;
}

/** What the messages of one request share and may change: notes that travel outwards, to interceptors and to the HTTP answer. */
export interface RequestNotes {
  [room: symbol]: unknown;
}

interface Carried {
  readonly facts: MessageFacts;
  readonly notes: RequestNotes;
}

const carrier = new AsyncLocalStorage<Carried>();
const never = new AbortController().signal;
/** Exception filters and whatever else answers an HTTP request run outside of the storage: they have the request in hand. */
const requests = new WeakMap<object, MessageFacts>();

/** The facts of the message being handled, or undefined outside of any. */
export const currentMessage = (): MessageFacts | undefined => carrier.getStore()?.facts;

/** The notes of the current request, or undefined outside of any. */
export const currentNotes = (): RequestNotes | undefined => carrier.getStore()?.notes;

/** Runs `work` with these facts; the notes of an enclosing request are kept unless `notes` are given. */
export function runWithMessage<T>(facts: MessageFacts, work: () => T, notes?: RequestNotes): T {
  return carrier.run({ facts, notes: notes ?? carrier.getStore()?.notes ?? {} }, work);
}

/** Says which chain an HTTP request has begun. */
export const rememberRequest = (request: object, facts: MessageFacts): void => void requests.set(request, facts);

/** The facts of a new message caused by the current one (or by nothing: then it starts a chain). */
export function nextMessage(own: Partial<MessageFacts> = {}): MessageFacts {
  const parent = currentMessage();
  const messageId = own.messageId ?? newId();
  return {
    ...(parent && { causationId: parent.messageId, depth: parent.depth, actor: parent.actor, tenant: parent.tenant, traceparent: parent.traceparent, signal: parent.signal }),
    correlationId: parent?.correlationId ?? messageId,
    ...own,
    messageId,
  };
}

/** Injectable view of the message being handled. Outside of any message its ids are those of a fresh chain. */
@Injectable()
export class MessageContext {
  private get facts(): MessageFacts {
    return currentMessage() ?? nextMessage();
  }

  /**
   * The facts of the chain that an HTTP request began, for exception filters, which run outside of it. A request that was refused
   * before (by a guard, by the router) has those of a chain of its own, the same each time.
   */
  ofRequest(request: object): MessageFacts {
    const facts = requests.get(request) ?? this.facts;
    rememberRequest(request, facts);
    return facts;
  }

  get messageId(): string {
    return this.facts.messageId;
  }
  get correlationId(): string {
    return this.facts.correlationId;
  }
  get causationId(): string | undefined {
    return this.facts.causationId;
  }
  get actor(): string | undefined {
    return this.facts.actor;
  }
  get tenant(): string | undefined {
    return this.facts.tenant;
  }
  get traceparent(): string | undefined {
    return this.facts.traceparent;
  }
  get idempotencyKey(): string {
    return this.facts.idempotencyKey ?? this.facts.messageId;
  }
  get signal(): AbortSignal {
    return this.facts.signal ?? never;
  }
}
