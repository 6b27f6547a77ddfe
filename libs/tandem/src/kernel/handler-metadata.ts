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
