import type { ValidationError } from 'class-validator';

export interface FieldProblem {
  /** E.g. `lines[0].quantity`. */
  readonly field: string;
  readonly message: string;
}

/** A request whose body, path or query breaks rules: all of them, field by field. */
export class InvalidRequest extends Error {
  constructor(readonly fields: readonly FieldProblem[]) {
    super(`${fields.length === 1 ? 'One field is' : `${fields.length} fields are`} wrong: ${fields.map(({ field }) => field).join(', ')}.`);
    this.name = 'InvalidRequest';
  }

  static of(errors: readonly ValidationError[]): InvalidRequest {
    return new InvalidRequest(errors.flatMap((error) => fieldsOf(error)));
  }
}

function fieldsOf({ property, constraints, children }: ValidationError, above = ''): FieldProblem[] {
  const field = /^\d+$/.test(property) ? `${above}[${property}]` : `${above}${above && '.'}${property}`;
  return [...Object.values(constraints ?? {}).map((message) => ({ field, message })), ...(children ?? []).flatMap((child) => fieldsOf(child, field))];
}
