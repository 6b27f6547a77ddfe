import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { StandardSchemaV1 } from '@standard-schema/spec';

const SCHEMA = 'tandem:validate-with';

/**
 * Gives a command, query or event class a schema (Zod, Valibot, ArkType: anything with Standard Schema) that the ValidationInterceptor checks
 * its instances against. The message stays as it is: what the schema would transform is not taken over.
 * A class whose instances the schema cannot take does not compile.
 */
export function ValidateWith<S extends StandardSchemaV1>(schema: S): (target: Type<StandardSchemaV1.InferInput<S>>) => void {
  return (target) => Reflect.defineMetadata(SCHEMA, schema, target);
}

/** The schema of a class or of one that it extends. */
export const schemaOf = (messageClass: object): StandardSchemaV1 | undefined => Reflect.getMetadata(SCHEMA, messageClass) as StandardSchemaV1 | undefined;
