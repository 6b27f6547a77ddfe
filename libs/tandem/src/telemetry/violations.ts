import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ValidationError } from 'class-validator';
import { schemaOf } from './validate-with.js';

/** One thing that is wrong with a message. */
export interface Violation {
  /** Where, e.g. `lines[0].quantity`; empty for the message as a whole. */
  readonly path: string;
  readonly message: string;
}

/** Everything that class-validator and the class's schema find wrong. */
export async function violationsOf(message: object): Promise<Violation[]> {
  return [...(await bySchema(message)), ...(await byClassValidator(message))];
}

async function bySchema(message: object): Promise<Violation[]> {
  const result = await schemaOf(message.constructor)?.['~standard'].validate(message);
  return (result?.issues ?? []).map((issue) => ({ path: pathOf(issue), message: issue.message }));
}

function pathOf(issue: StandardSchemaV1.Issue): string {
  const keys = (issue.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
  return keys.reduce<string>((path, key) => join(path, String(key)), '');
}

const join = (path: string, key: string): string => (/^\d+$/.test(key) ? `${path}[${key}]` : `${path}${path && '.'}${key}`);

/** class-validator is an optional peer: a class that wears its decorators has loaded it, and its storage is then global. */
async function byClassValidator(message: object): Promise<Violation[]> {
  if (!('classValidatorMetadataStorage' in globalThis)) return [];
  const { getMetadataStorage, validate } = await import('class-validator');
  if (getMetadataStorage().getTargetValidationMetadatas(message.constructor, '', false, false).length === 0) return [];
  return (await validate(message, { validationError: { target: false, value: false } })).flatMap((error) => flattened(error, ''));
}

function flattened(error: ValidationError, parent: string): Violation[] {
  const path = join(parent, error.property);
  const own = Object.values(error.constraints ?? {}).map((message) => ({ path, message }));
  return [...own, ...(error.children ?? []).flatMap((child) => flattened(child, path))];
}
