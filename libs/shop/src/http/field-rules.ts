import type { ValidationArguments } from 'class-validator';
import { ValidateBy } from 'class-validator';
import { InvalidValueError } from '../shop-error.js';

/** Validates a member of a request body by the domain's own rule, so that the two never differ. */
export function Follows(name: string, parse: (value: unknown, field: string) => unknown): PropertyDecorator {
  return ValidateBy({
    name,
    validator: {
      validate: (value: unknown) => broken(parse, value) === undefined,
      defaultMessage: (given?: ValidationArguments) => `${given?.property ?? name} ${broken(parse, given?.value) ?? 'is not valid'}`,
    },
  });
}

function broken(parse: (value: unknown, field: string) => unknown, value: unknown): string | undefined {
  try {
    parse(value, 'field');
    return undefined;
  } catch (error) {
    if (error instanceof InvalidValueError) return error.rule;
    throw error;
  }
}
