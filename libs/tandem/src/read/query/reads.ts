import 'reflect-metadata';
import type { Type } from '@nestjs/common';

const READS = 'tandem:reads';

/**
 * Says which read entities a query handler reads: a query with a consistency token then waits for their projections only, and
 * cached results go when they change. Without it a token waits for every projection.
 */
export function Reads(...entities: readonly Type[]): ClassDecorator {
  return (target) => Reflect.defineMetadata(READS, Object.freeze([...entities]), target);
}

/** The entities of `@Reads`, or undefined when the handler has none. */
export const readsOf = (handlerClass: object): readonly Type[] | undefined => Reflect.getMetadata(READS, handlerClass) as readonly Type[] | undefined;
