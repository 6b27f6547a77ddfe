import type { Type } from '@nestjs/common';
import { projectionOf } from '../projection/projection.js';
import { cacheResultOf } from '../query-cache/cache-result.js';
import { readsOf } from './reads.js';

/** One sentence for each query handler whose tokens would wait for nothing, or whose cached answers nothing would invalidate. */
export function queryProblems(handlerClasses: readonly Type[], projections: readonly Type[]): string[] {
  const written = writtenBy(projections);
  return handlerClasses.flatMap((handlerClass) => problemsOf(handlerClass, written));
}

/** Undefined when a projection does not say what it writes: it may be anything. */
function writtenBy(projections: readonly Type[]): ReadonlySet<Type> | undefined {
  const written = projections.map(projectionOf).map((definition): readonly Type[] => (definition?.entity ? [definition.entity as Type] : (definition?.tables ?? [])));
  return written.every((entities) => entities.length > 0) ? new Set(written.flat()) : undefined;
}

function problemsOf(handlerClass: Type, written: ReadonlySet<Type> | undefined): string[] {
  const reads = readsOf(handlerClass) ?? [];
  const cached = cacheResultOf(handlerClass) !== undefined;
  if (cached && reads.length === 0) return [`${handlerClass.name} has @CacheResult without @Reads(...): its answers would stay although what they read has changed`];
  const unwritten = written ? reads.filter((entity) => !written.has(entity)) : [];
  if (unwritten.length === 0) return [];
  const says = `${handlerClass.name} has @Reads(${reads.map(({ name }) => name).join(', ')}), but no projection writes ${unwritten.map(({ name }) => name).join(' or ')}`;
  if (cached) return [`${says}: cached answers would stay although it has changed`];
  return unwritten.length === reads.length ? [`${says}: a query with a consistency token would wait for nothing`] : [];
}
