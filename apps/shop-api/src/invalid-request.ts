import type { ValidationError } from 'class-validator';

export interface FieldProblem {
  /** E.g. `lines[0].quantity`. */
  readonly field: string;
  readonly message: string;
}

/** An answer is no longer than its reader's patience, whatever the request was. */
const MOST_TOLD = 100;
const MOST_NAMED = 10;

/** A request whose body, path or query breaks rules, field by field: the first 100 of them. */
export class InvalidRequest extends Error {
  readonly fields: readonly FieldProblem[];

  constructor(all: readonly FieldProblem[]) {
    const names = [...new Set(all.map(({ field }) => field))];
    const listed = names.slice(0, MOST_NAMED).join(', ');
    super(`${names.length === 1 ? 'One field is' : `${names.length} fields are`} wrong: ${listed}${names.length > MOST_NAMED ? ', …' : ''}.`);
    this.name = 'InvalidRequest';
    this.fields = all.slice(0, MOST_TOLD);
  }

  static of(errors: readonly ValidationError[]): InvalidRequest {
    return new InvalidRequest(errors.flatMap((error) => fieldsOf(error)));
  }
}

function fieldsOf({ property, constraints, children }: ValidationError, above = ''): FieldProblem[] {
  const field = /^\d+$/.test(property) ? `${above}[${property}]` : `${above}${above && '.'}${property}`;
  return [...Object.values(constraints ?? {}).map((message) => ({ field, message })), ...(children ?? []).flatMap((child) => fieldsOf(child, field))];
}
