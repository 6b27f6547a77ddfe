import type { Type } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { handledCommand, handledEvents, handledQuery } from '../handler-metadata.js';
import { type ApplicationMap, placeOf, type Provided } from './application-map.js';

type Handled = (handlerClass: object) => Type<object> | undefined;

/** Mistakes in handlers and buses, each a sentence that names both parties. */
export function handlerProblems(application: ApplicationMap, inheritGlobalEnhancers: boolean): string[] {
  const { provided } = application;
  return [
    ...handledTwice(provided, handledCommand),
    ...handledTwice(provided, handledQuery),
    ...commandAndQuery(provided),
    ...withoutMethod(provided),
    ...acrossTheSides(provided),
    ...secondBuses(application),
    ...(inheritGlobalEnhancers ? application.requestScopedGlobals.map((name) => `${name} is request-scoped and cannot be inherited by \`inheritGlobalEnhancers\``) : []),
  ];
}

/** Message class → who handles it. */
export function handlersOf(provided: readonly Provided[], handled: Handled): Map<Type<object>, Provided[]> {
  const found = new Map<Type<object>, Provided[]>();
  for (const candidate of provided) {
    const message = handled(candidate.type);
    if (message) found.set(message, [...(found.get(message) ?? []), candidate]);
  }
  return found;
}

function handledTwice(provided: readonly Provided[], handled: Handled): string[] {
  const several = [...handlersOf(provided, handled)].filter(([, handlers]) => handlers.length > 1);
  return several.map(([message, handlers]) => `${message.name} is handled by both ${handlers.map(placeOf).join(' and ')}`);
}

function commandAndQuery(provided: readonly Provided[]): string[] {
  const queries = handlersOf(provided, handledQuery);
  return [...handlersOf(provided, handledCommand)].flatMap(([message, [handler]]) => {
    const other = queries.get(message)?.[0];
    return handler && other ? [`${message.name} is handled as a command by ${placeOf(handler)} and as a query by ${placeOf(other)}`] : [];
  });
}

function withoutMethod(provided: readonly Provided[]): string[] {
  return provided.flatMap((candidate) => {
    const { instance, type } = candidate;
    const message = handledCommand(type) ?? handledQuery(type) ?? handledEvents(type)[0];
    const method = handledEvents(type).length > 0 ? 'handle' : 'execute';
    if (!message || !instance || typeof (instance as Record<string, unknown>)[method] === 'function') return [];
    return [`${placeOf(candidate)} handles ${message.name} but has no method \`${method}\``];
  });
}

/** Write and read are kept apart: what a command decides rests on the write model, and a query changes nothing. */
function acrossTheSides(provided: readonly Provided[]): string[] {
  return provided.flatMap((candidate) => {
    if (handledCommand(candidate.type) && candidate.injects.includes(QueryBus))
      return [`${placeOf(candidate)} handles a command and injects QueryBus: the read side may be behind`];
    if (handledQuery(candidate.type) && candidate.injects.includes(CommandBus)) return [`${placeOf(candidate)} handles a query and injects CommandBus: a query changes nothing`];
    return [];
  });
}

function secondBuses({ otherCqrsImporters, tandemImporters }: ApplicationMap): string[] {
  return [
    ...otherCqrsImporters.map(
      (importer) => `${importer} imports CqrsModule beside TandemModule: its buses would bypass Tandem (import TandemModule in its place, or nothing: it is global)`,
    ),
    ...(tandemImporters.length > 1
      ? [
          `${tandemImporters.join(' and ')} import TandemModule with settings of their own, so each would have buses of its own: one of them may (others import TandemModule as it stands)`,
        ]
      : []),
  ];
}
