import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { MOST_LINES } from 'shop';
import { type FieldProblem, InvalidRequest } from './invalid-request.js';

/** Ours go three deep: body, lines, line. */
const DEEPEST = 8;
/** An order of as many lines as one may have, and some more. */
const MOST_VALUES = 3_000;
const LONGEST_NAME = 100;

/**
 * Refuses what is too large, too deep or oddly named for the pipes after it, which copy every value before they look at it: their
 * time grows with a body that none of our routes reads, their stack with its depth, and they drop members that every object has.
 */
@Injectable()
export class RequestShapePipe implements PipeTransform {
  /** @throws InvalidRequest naming the first place that is wrong */
  transform(value: unknown, { type }: ArgumentMetadata): unknown {
    if (type === 'custom') return value;
    const problem = new Walk().visit(value, '', 0);
    if (problem) throw new InvalidRequest([{ ...problem, field: problem.field || type }]);
    return value;
  }
}

class Walk {
  private values = 0;

  visit(value: unknown, field: string, depth: number): FieldProblem | undefined {
    if (typeof value !== 'object' || value === null) return undefined;
    if (depth > DEEPEST) return { field, message: `${field} must not be nested so deeply` };
    if (Array.isArray(value)) {
      if (value.length > MOST_LINES) return { field, message: `${field || 'a list'} must contain no more than ${MOST_LINES} elements` };
      return this.visitAll(value, (index) => `${field}[${index}]`, { field, depth });
    }
    const names = Object.keys(value);
    const odd = names.slice(0, MOST_VALUES).find((name) => name.length > LONGEST_NAME || name in Object.prototype);
    if (odd !== undefined) return { field: below(field, odd), message: `property ${short(odd)} should not exist` };
    return this.visitAll(Object.values(value), (index) => below(field, names[index]!), { field, depth });
  }

  private visitAll(values: readonly unknown[], name: (index: number) => string, { field, depth }: { readonly field: string; readonly depth: number }): FieldProblem | undefined {
    this.values += values.length;
    if (this.values > MOST_VALUES) return { field, message: `${field || 'the request'} must not hold so many values: at most ${MOST_VALUES} in all` };
    for (const [index, value] of values.entries()) {
      const problem = this.visit(value, name(index), depth + 1);
      if (problem) return problem;
    }
    return undefined;
  }
}

const short = (name: string): string => (name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name);
const below = (field: string, name: string): string => `${field}${field && '.'}${short(name)}`;
