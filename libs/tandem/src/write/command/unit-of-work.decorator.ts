import 'reflect-metadata';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import type { UnitOptions } from '../../kernel/unit-of-work.js';

export type UnitOfWorkChoice = 'none' | Pick<UnitOptions, 'tries' | 'deadlineMs' | 'dataSource'>;

const LIMITS: Readonly<Record<keyof Exclude<UnitOfWorkChoice, 'none'>, true>> = { tries: true, deadlineMs: true, dataSource: true };
const UNIT_OF_WORK = 'tandem:unit-of-work';

/**
 * Says how a command handler runs: `'none'` without a transaction and never repeated by itself, `{ tries, deadlineMs }` in a unit
 * of work with these limits (default 5 tries, 15,000 ms), `{ dataSource }` in one on another data source of this name, in which
 * no events can be published: the log is not there. Without it the option `unitOfWork` of the module decides.
 * @throws TANDEM_WIRING for an unknown limit, and for limits that are not whole numbers from 1.
 */
export function UnitOfWork(choice: UnitOfWorkChoice): ClassDecorator {
  return (target) => {
    const given = choice === 'none' ? choice : knownOptions(`@UnitOfWork on ${target.name}`, choice, LIMITS);
    const { dataSource, ...limits } = given === 'none' ? {} : given;
    if (dataSource !== undefined && (typeof dataSource !== 'string' || dataSource === ''))
      throw new TandemError('TANDEM_WIRING', `@UnitOfWork on ${target.name}: dataSource is a name`);
    for (const [name, limit] of Object.entries(limits)) {
      if (!Number.isInteger(limit) || (limit as number) < 1) throw new TandemError('TANDEM_WIRING', `@UnitOfWork on ${target.name}: ${name} is a whole number from 1`);
    }
    Reflect.defineMetadata(UNIT_OF_WORK, Object.freeze(given), target);
  };
}

/** What a handler class says about its unit of work, or undefined when nothing. */
export const unitOfWorkChoiceOf = (handlerClass: object): UnitOfWorkChoice | undefined => Reflect.getMetadata(UNIT_OF_WORK, handlerClass) as UnitOfWorkChoice | undefined;
