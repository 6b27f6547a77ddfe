import { closest } from 'fastest-levenshtein';
import { CommandHandlerNotFoundException, QueryHandlerNotFoundException } from '@nestjs/cqrs';
import { STANDS_FOR, TandemError } from './errors.js';

/** A command or query was sent that no handler is registered for. Names the nearest one that has a handler: mostly a misspelling or a missing import. */
export class HandlerNotFound extends TandemError {
  constructor(kind: 'command' | 'query', message: string, registered: readonly string[]) {
    const nearest = registered.length > 0 ? closest(message, registered) : undefined;
    super('TANDEM_HANDLER_NOT_FOUND', `There is no handler for the ${kind} ${message}${hint(message, nearest)}`, {
      data: { kind, message, nearest },
      next: nextStep(message, nearest),
    });
  }
}

/** Also the exception of @nestjs/cqrs that applications may look for: an instance of both. */
export function handlerNotFound(kind: 'command' | 'query', message: string, registered: readonly string[]): HandlerNotFound {
  const error = new HandlerNotFound(kind, message, registered);
  const exception = kind === 'command' ? new CommandHandlerNotFoundException(message) : new QueryHandlerNotFoundException(message);
  return Object.defineProperties(exception, { ...Object.getOwnPropertyDescriptors(error), [STANDS_FOR]: { value: error } }) as unknown as HandlerNotFound;
}

function hint(message: string, nearest: string | undefined): string {
  if (nearest === undefined) return '; none are registered (they are when the application has started)';
  return nearest === message ? ', although another class of that name has one' : `; the nearest that has one is ${nearest}`;
}

const nextStep = (message: string, nearest: string | undefined): string | undefined =>
  nearest === message ? 'The class was loaded twice, from two files: import it from one place.' : undefined;
