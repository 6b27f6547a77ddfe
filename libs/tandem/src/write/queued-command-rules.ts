import type { Type } from '@nestjs/common';
import { handledCommand } from '../kernel/handler-metadata.js';
import { placeOf, type Provided } from '../kernel/registry/application-map.js';
import { handlersOf } from '../kernel/registry/handler-rules.js';
import { onMarks } from '../events/on.js';
import { type QueuedCommandDefinition, queuedCommandOf } from '../jobs/queued-command.js';
import { unitOfWorkChoiceOf } from './command/unit-of-work.decorator.js';
import { durableSagaOf } from './saga/durable-saga.js';

/** The queued commands that this application can run: those with a handler. */
export function queuedCommandsOf(provided: readonly Provided[]): readonly QueuedCommandDefinition[] {
  const byName = new Map<string, QueuedCommandDefinition>();
  for (const command of handlersOf(provided, handledCommand).keys()) {
    const definition = queuedCommandOf(command);
    if (definition && !byName.has(definition.name)) byName.set(definition.name, definition);
  }
  return [...byName.values()];
}

/** Mistakes in queued commands and their handlers. */
export function queuedCommandProblems(provided: readonly Provided[]): string[] {
  const handlers = handlersOf(provided, handledCommand);
  return [
    ...sameNames([...handlers.keys()]),
    ...[...handlers].flatMap(([command, [handler]]) => effectProblems(command, handler!)),
    ...provided.flatMap((saga) => unhandled(saga, handlers)),
  ];
}

function sameNames(commands: readonly Type<object>[]): string[] {
  const byName = new Map<string, Type<object>>();
  return commands.flatMap((command) => {
    const name = queuedCommandOf(command)?.name;
    const first = name === undefined ? undefined : byName.get(name);
    if (name !== undefined && !first) byName.set(name, command);
    return first ? [`"${name}" is the name of both queued commands ${first.name} and ${command.name}`] : [];
  });
}

function effectProblems(command: Type<object>, handler: Provided): string[] {
  const effect = queuedCommandOf(command)?.effect;
  const choice = unitOfWorkChoiceOf(handler.type);
  if (effect === 'sql' && choice === 'none') return [`${command.name} is queued with effect 'sql', but ${placeOf(handler)} says @UnitOfWork('none')`];
  if (effect === 'sql' && choice && choice !== 'none' && choice.dataSource !== undefined)
    return [`${command.name} is queued with effect 'sql', but ${placeOf(handler)} runs on the data source "${choice.dataSource}", where its job is not`];
  if (effect === 'external' && choice && choice !== 'none') return [`${command.name} is queued with effect 'external', but ${placeOf(handler)} asks for a unit of work`];
  return [];
}

/** What a saga's method declares to return. An inferred type is not known here: such a command is found missing when it is queued. */
function unhandled(saga: Provided, handlers: ReadonlyMap<Type<object>, unknown>): string[] {
  if (!durableSagaOf(saga.type)) return [];
  return onMarks(saga.type).flatMap(({ method }) => {
    const returned = Reflect.getMetadata('design:returntype', saga.type.prototype as object, method) as Type<object> | undefined;
    const missing = returned && queuedCommandOf(returned) && !handlers.has(returned);
    return missing ? [`${placeOf(saga)} returns the queued command ${returned.name} from \`${method}\`, which has no handler`] : [];
  });
}
