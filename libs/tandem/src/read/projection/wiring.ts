import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { onMarks, type OnMark } from '../../events/on.js';
import { isTandemError } from '../../kernel/errors.js';
import { Delta } from './delta.js';
import { mayRunAtOnce } from './projection-consumer.js';
import { projectionOf, type ProjectionDefinition } from './projection.js';
import type { RowShape, RowStore } from './row-store.js';
import type { SyncStrategy } from './sync-strategy.js';

/** Names of projections → strategies, instead of the declared ones. */
export type SyncStrategies = Readonly<Record<string, SyncStrategy>>;

export interface WiringSettings {
  readonly readDataSource?: string;
  readonly syncStrategies?: SyncStrategies;
}

/** What is wrong with these projection classes, one sentence each; empty when all is well. Names and events are checked with all other consumers. */
export function projectionProblems(projections: readonly Type[], rows: RowStore, { readDataSource, syncStrategies = {} }: WiringSettings = {}): string[] {
  const apart = readDataSource === undefined ? [] : projections.flatMap((each) => foldedProblem(each, readDataSource, syncStrategies));
  return [...projections.flatMap((each) => problemsOf(each, rows)), ...apart, ...strangers(projections, syncStrategies), ...sharedEntities(projections)];
}

function strangers(projections: readonly Type[], strategies: SyncStrategies): string[] {
  const names = projections.flatMap((each) => projectionOf(each)?.name ?? []);
  const known = names.length > 0 ? `there are ${names.join(', ')}` : 'there are none';
  return Object.keys(strategies).flatMap((name) =>
    names.includes(name) ? [] : [`\`syncStrategies\` of TandemModule names "${name}", which is no projection of this application; ${known}`],
  );
}

function foldedProblem(projection: Type, readDataSource: string, strategies: SyncStrategies): string[] {
  const definition = projectionOf(projection);
  if (!definition || (strategies[definition.name] ?? definition.sync).kind !== 'immediate') return [];
  return [
    `@Projection('${definition.name}') on ${projection.name} has SyncStrategy.immediate(), but projections are kept in the data source "${readDataSource}", which would not commit with the command: give it SyncStrategy.eventual(), and ask with Consistency.readYourWrites(token)`,
  ];
}

function problemsOf(projection: Type, rows: RowStore): string[] {
  const definition = projectionOf(projection);
  if (!definition) return [`${projection.name} has no @Projection`];
  const marks = onMarks(projection);
  if (marks.length === 0) return [`@Projection('${definition.name}') on ${projection.name} has no method with @On or @OnDelta`];
  return definition.entity ? rowProblems(projection, definition, marks, rows) : freeProblems(projection, marks);
}

function freeProblems(projection: Type, marks: readonly OnMark[]): string[] {
  return marks
    .filter((mark) => mark.kind === 'delta' || Object.keys(mark.options).length > 0)
    .map((mark) => `${projection.name}.${mark.method} has ${mark.kind === 'delta' ? '@OnDelta' : 'row options in @On'}, but its projection names no entity`);
}

function rowProblems(projection: Type, definition: ProjectionDefinition, marks: readonly OnMark[], rows: RowStore): string[] {
  const entity = definition.entity!;
  let shape: RowShape;
  try {
    shape = rows.shape(entity);
  } catch (error) {
    if (!isTandemError(error, 'TANDEM_WIRING')) throw error;
    return [`@Projection('${definition.name}') on ${projection.name}: ${error.message}`];
  }
  const problems = marks.flatMap((mark) => [...keyProblems(projection, mark, entity, shape), ...rowTaken(projection, mark, entity)]);
  if ((definition.parallelism ?? 1) > 1 && !mayRunAtOnce(marks)) {
    problems.push(
      `@Projection('${definition.name}') on ${projection.name} has parallelism ${definition.parallelism}, but several streams change its rows: use @OnDelta for all of its methods, leave \`key\` out, or run it with parallelism 1`,
    );
  }
  return problems;
}

function keyProblems(projection: Type, mark: OnMark, entity: Type<object>, shape: RowShape): string[] {
  if (mark.options.key !== undefined || shape.keys.length === 1) return [];
  return [`${projection.name}.${mark.method} has no \`key\`, but the key of ${entity.name} is (${shape.keys.join(', ')}): a stream has one id only`];
}

/** Where the class of the first parameter is known at run time, it must be the entity, or Delta. */
function rowTaken(projection: Type, mark: OnMark, entity: Type<object>): string[] {
  const [taken] = (Reflect.getMetadata('design:paramtypes', projection.prototype as object, mark.method) as unknown[] | undefined) ?? [];
  if (typeof taken !== 'function' || taken === Object || taken === Function) return []; // a type-only import leaves Object or Function
  const expected = mark.kind === 'delta' ? Delta : entity;
  if (taken === expected || expected.prototype instanceof taken) return [];
  const wanted = mark.kind === 'delta' ? `Delta<${entity.name}>` : entity.name;
  return [`${projection.name}.${mark.method} takes ${taken.name}, but it is given ${wanted}`];
}

function sharedEntities(projections: readonly Type[]): string[] {
  const byEntity = new Map<unknown, Type[]>();
  for (const projection of projections) {
    const entity = projectionOf(projection)?.entity;
    if (entity) byEntity.set(entity, [...(byEntity.get(entity) ?? []), projection]);
  }
  return [...byEntity.entries()]
    .filter(([, owners]) => owners.length > 1)
    .map(([entity, owners]) => `${(entity as Type).name} is the entity of ${owners.map((owner) => owner.name).join(' and ')}: an entity belongs to one projection`);
}
