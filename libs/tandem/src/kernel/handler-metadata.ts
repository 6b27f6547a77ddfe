/**
 * What the decorators of @nestjs/cqrs and of Nest's enhancers leave on a class. Their metadata keys are not public, so each is
 * found once, by asking a probe class that wears the public decorator.
 */
import 'reflect-metadata';
import { type Type, UseGuards, UseInterceptors, UsePipes } from '@nestjs/common';
import { CommandHandler, EventsHandler, QueryHandler } from '@nestjs/cqrs';

export type MessageKind = 'command' | 'query' | 'event';

class ProbeMessage {}

function keyOf(wear: (probe: Type) => void, isIt: (value: unknown) => boolean): string {
  class Probe {}
  wear(Probe);
  const key = Reflect.getMetadataKeys(Probe).find((candidate: unknown) => isIt(Reflect.getMetadata(candidate, Probe)));
  if (typeof key !== 'string') throw new Error('@nestjs/cqrs or @nestjs/common keeps its metadata in a way that this version of Tandem does not know');
  return key;
}

const isProbe = (value: unknown): boolean => value === ProbeMessage;
const isProbeList = (value: unknown): boolean => Array.isArray(value) && value[0] === ProbeMessage;

const COMMAND = keyOf((probe) => CommandHandler(ProbeMessage)(probe), isProbe);
const QUERY = keyOf((probe) => QueryHandler(ProbeMessage)(probe), isProbe);
const EVENTS = keyOf((probe) => EventsHandler(ProbeMessage)(probe), isProbeList);
const ENHANCERS = [
  keyOf((probe) => UseInterceptors({ intercept: (_context, next) => next.handle() })(probe), Array.isArray),
  keyOf((probe) => UseGuards({ canActivate: () => true })(probe), Array.isArray),
  keyOf((probe) => UsePipes({ transform: (value: unknown) => value })(probe), Array.isArray),
];

/** Under which key a decorator leaves the id of a message on the message's class. */
function idKeyOf(wear: (message: Type) => void): string {
  class Message {}
  wear(Message);
  const key = Reflect.getMetadataKeys(Message).find((candidate: unknown) => typeof idIn(Reflect.getMetadata(candidate, Message)) === 'string');
  if (typeof key !== 'string') throw new Error('@nestjs/cqrs keeps the ids of messages in a way that this version of Tandem does not know');
  return key;
}

const idIn = (value: unknown): unknown => (value as { readonly id?: unknown } | undefined)?.id;

const COMMAND_ID = idKeyOf((message) => CommandHandler(message)(class {}));
const QUERY_ID = idKeyOf((message) => QueryHandler(message)(class {}));

/** The id that @nestjs/cqrs binds a command's handler to: that of the nearest class in the chain that some handler names. Of this process only. */
export const commandIdOf = (command: object): string | undefined => idIn(Reflect.getMetadata(COMMAND_ID, command.constructor)) as string | undefined;

/** As `commandIdOf`, of a query. */
export const queryIdOf = (query: object): string | undefined => idIn(Reflect.getMetadata(QUERY_ID, query.constructor)) as string | undefined;

/** The command class that this handler class handles. */
export const handledCommand = (handlerClass: object): Type<object> | undefined => Reflect.getMetadata(COMMAND, handlerClass) as Type<object> | undefined;

/** The query class that this handler class handles. */
export const handledQuery = (handlerClass: object): Type<object> | undefined => Reflect.getMetadata(QUERY, handlerClass) as Type<object> | undefined;

/** The event classes that this handler class handles in process. */
export const handledEvents = (handlerClass: object): readonly Type<object>[] => (Reflect.getMetadata(EVENTS, handlerClass) as readonly Type<object>[] | undefined) ?? [];

/** What a handler class handles, or undefined when it is none. */
export function messageKindOf(handlerClass: object): MessageKind | undefined {
  if (handledCommand(handlerClass)) return 'command';
  if (handledQuery(handlerClass)) return 'query';
  return handledEvents(handlerClass).length > 0 ? 'event' : undefined;
}

/** True when the class or the method wears @UseInterceptors, @UseGuards or @UsePipes. */
export const isEnhanced = (handlerClass: object, method: object | undefined): boolean =>
  ENHANCERS.some((key) => Reflect.hasMetadata(key, handlerClass) || (method !== undefined && Reflect.hasMetadata(key, method)));
