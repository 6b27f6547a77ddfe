import { handledCommand } from '../../kernel/handler-metadata.js';
import { placeOf, type Provided } from '../../kernel/registry/application-map.js';
import type { UnitOfWork } from '../../kernel/unit-of-work.js';
import { unitOfWorkChoiceOf } from './unit-of-work.decorator.js';

/** Handlers that ask for a data source on which no unit of work can run. */
export function unitOfWorkProblems(provided: readonly Provided[], units: UnitOfWork): string[] {
  return provided
    .filter(({ type }) => handledCommand(type))
    .flatMap((handler) => {
      const choice = unitOfWorkChoiceOf(handler.type);
      const problem = choice && choice !== 'none' && choice.dataSource !== undefined ? units.problemOf(choice.dataSource) : undefined;
      return problem === undefined ? [] : [`@UnitOfWork on ${placeOf(handler)}: ${problem}`];
    });
}
