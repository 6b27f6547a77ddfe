import type { Type } from '@nestjs/common';
import type { Consumer } from '../../events/consumer.js';
import { categoryOf } from '../../events/domain-event.js';
import { SHARDS } from '../../events/event-log.js';
import { onMarks, type OnMark } from '../../events/on.js';
import { TandemError } from '../../kernel/errors.js';
import { HANDLER_TIMEOUT_MS } from '../../kernel/in-time.js';
import { FreeProjection } from './free-projection.js';
import { projectionOf, type ProjectionDefinition } from './projection.js';
import { RowProjection } from './row-projection.js';
import type { RowStore } from './row-store.js';
import { conditionOf, type SyncStrategy } from './sync-strategy.js';

/** Rows that more than one stream may change: an explicit key leads anywhere, and `order-17` and `payment-17` lead to the same row. */
export const fedBySeveralStreams = (marks: readonly OnMark[]): boolean => marks.some((mark) => mark.kind === 'delta' || mark.options.key !== undefined) || !ofOneCategory(marks);

/** False also where the category depends on the event, so that nobody knows it beforehand. */
function ofOneCategory(marks: readonly OnMark[]): boolean {
  const categories = new Set(marks.map(({ event }) => categoryOf(event)));
  return categories.size === 1 && !categories.has(undefined);
}

/** Whether batches may run at once: two that load, change and write back the same row would lose one of the changes. */
export const mayRunAtOnce = (marks: readonly OnMark[]): boolean => !fedBySeveralStreams(marks) || marks.every((mark) => mark.kind === 'delta');

/** A consumer that keeps read entities, and can keep them in other tables than the live ones. */
export interface ProjectionConsumer extends Consumer {
  readonly rebuildLike: 'table' | 'entity';
  /** As `handle`, with rows elsewhere. */
  into(rows: RowStore): Consumer['handle'];
}

export const isProjection = (consumer: Consumer): consumer is ProjectionConsumer => consumer.kind === 'projection' && 'into' in consumer;

/**
 * The consumer that an instance of a `@Projection` class declares; with another sync strategy, where one is given.
 * Where `wiringErrors` is `warn`, a parallelism that would lose changes is only reported; it then runs with 1.
 * @throws TANDEM_WIRING when the class has no `@Projection`.
 */
export function projectionConsumer(instance: object, rows: RowStore, handlerTimeoutMs = HANDLER_TIMEOUT_MS, sync?: SyncStrategy): ProjectionConsumer {
  const consumerClass = instance.constructor as Type;
  const definition = projectionOf(consumerClass);
  if (!definition) throw new TandemError('TANDEM_WIRING', `${consumerClass.name} has no @Projection`);
  const marks = onMarks(consumerClass);
  const into = (store: RowStore): Consumer['handle'] => {
    const runs = definition.entity
      ? new RowProjection({ instance, entity: definition.entity as Type, marks, handlerTimeoutMs }, store)
      : new FreeProjection({ instance, marks, handlerTimeoutMs }, store);
    return (unit, events) => runs.handle(unit, events);
  };
  return {
    name: definition.name,
    kind: 'projection',
    consumerClass,
    events: [...new Set(marks.map((mark) => mark.event))],
    version: definition.version,
    startFrom: 'beginning',
    renamedFrom: definition.renamedFrom,
    ...runsAs(sync ? { ...definition, sync } : definition, marks, rows),
    entities: definition.entity ? [definition.entity as Type] : (definition.tables ?? []),
    rebuildLike: definition.rebuildLike ?? 'table',
    handle: into(rows),
    into,
  };
}

/** Batches of one projection in each process, where its rows do not depend on one another. */
const LANES = 4;

function runsAs(definition: ProjectionDefinition, marks: readonly OnMark[], rows: RowStore): Pick<Consumer, 'parallelism' | 'onError' | 'runBy' | 'waitsFor'> {
  const { entity, onError, sync } = definition;
  const severalStreams = entity !== undefined && fedBySeveralStreams(marks);
  const runBy = sync.kind === 'immediate' ? 'command' : 'worker';
  const { parallelism = entity && !severalStreams ? ownRows(entity as Type, runBy, rows) : 1 } = definition;
  // A slot is noted by the batch that comes to its end, which must be the only one.
  const oneAtATime = sync.kind === 'scheduled' || (entity !== undefined && !mayRunAtOnce(marks));
  return { parallelism: oneAtATime ? 1 : parallelism, onError: onError ?? (severalStreams ? 'halt' : 'park'), runBy, waitsFor: conditionOf(sync) };
}

/** Of a projection whose rows have a stream each. */
function ownRows(entity: Type, runBy: Consumer['runBy'], rows: RowStore): number {
  // Commands that each fold their own rows need not wait for one another.
  if (runBy === 'command') return SHARDS;
  // A value that one row gives up and another takes must be given up first.
  return rows.shape(entity).constrained ? 1 : LANES;
}
