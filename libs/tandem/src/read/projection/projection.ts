/**
 * A *projection* is a consumer that keeps read entities up to date. A *row projection* names its entity: its methods get the
 * row that an event changes, and all rows of a batch are loaded with one SELECT and written with few statements. A *free
 * projection* names none: its methods get `(event, metadata, manager, context)` and do what they like in the batch's transaction.
 *
 * Trade-off of row projections: methods are synchronous and see only their row; what they need to know of other rows comes
 * through a key `lookup`, asked once per batch. In return a batch of a thousand events costs a handful of statements.
 */
import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import { SyncStrategy } from './sync-strategy.js';

export interface ProjectionOptions<V extends object = object> {
  /** The read entity whose rows the methods change. Without it the projection is free. */
  readonly entity?: Type<V>;
  /** Of the projection's code; raise it when old rows need to be built anew. From 1. */
  readonly version: number;
  /** Default `SyncStrategy.eventual()`. */
  readonly sync?: SyncStrategy;
  /**
   * How many batches may run at once. With 1 there is one over the fleet, and cause comes before effect across streams; above 1 (at most 4 in one process) only the order
   * within a stream is kept, so it is allowed only where every row is fed by one stream, or by deltas alone. Default 1; where each row has a stream of its own and nothing
   * but its key is unique, 4, and no limit for an immediate projection.
   */
  readonly parallelism?: number;
  /** `park` holds back the failed event's stream, `halt` the whole projection. Default `halt` for rows that several streams feed (a sum without one stream is a wrong sum), else `park`. */
  readonly onError?: 'park' | 'halt';
  /** Of a free projection: the read entities that it writes, so that cached results which read them go, and so that they can be rebuilt. */
  readonly tables?: readonly Type[];
  /**
   * What the tables of a rebuild are made like. `table`: the live ones, with all that a migration gave them (columns that the entity has and they lack are added).
   * `entity`: what TypeORM would make of the entity, for columns whose type has changed. Default `table`.
   */
  readonly rebuildLike?: 'table' | 'entity';
  /** The name that it had before: its checkpoints and dead letters go over to the new one, once. Leave it there until no code with the old name runs any more. */
  readonly renamedFrom?: string;
}

export interface ProjectionDefinition extends ProjectionOptions {
  /** Stable name, stored with checkpoints. */
  readonly name: string;
  readonly sync: SyncStrategy;
}

const PROJECTION = 'tandem:projection';
const OPTIONS: Readonly<Record<keyof ProjectionOptions, true>> = {
  entity: true,
  version: true,
  sync: true,
  parallelism: true,
  onError: true,
  tables: true,
  rebuildLike: true,
  renamedFrom: true,
};
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;

/**
 * Makes a provider class a projection. The name is stored with its checkpoints: renaming it is an explicit act.
 * @throws TANDEM_WIRING for an unknown option, `entity` together with `tables`, a name that is not lower-case letters, digits, dots and dashes, a version or parallelism that is not a whole number from 1.
 */
export function Projection<V extends object>(name: string, options: ProjectionOptions<V>): (target: Type<object>) => void {
  return (target) => {
    const where = `@Projection('${name}') on ${target.name}`;
    const given = knownOptions(where, options, OPTIONS);
    if (!NAME.test(name)) throw new TandemError('TANDEM_WIRING', `${where}: a name is lower-case letters, digits, dots and dashes`);
    if (given.entity && given.tables) {
      throw new TandemError(
        'TANDEM_WIRING',
        `${where}: \`entity\` (${given.entity.name}) is the only thing that a row projection writes, so \`tables\` (${namesOf(given.tables)}) would say nothing`,
        {
          next: 'Leave `tables` out, or `entity`: then the projection is free, and its methods get no row.',
        },
      );
    }
    for (const [option, value] of Object.entries({ version: options.version, parallelism: options.parallelism ?? 1 })) {
      if (!Number.isInteger(value) || value < 1) throw new TandemError('TANDEM_WIRING', `${where}: ${option} is a whole number from 1`);
    }
    Reflect.defineMetadata(PROJECTION, Object.freeze({ sync: SyncStrategy.eventual(), ...given, name }), target);
  };
}

const namesOf = (types: readonly Type[]): string => types.map(({ name }) => name).join(', ');

/** The definition of a projection class, or undefined when it has no `@Projection` of its own. */
export const projectionOf = (projectionClass: object): ProjectionDefinition | undefined => Reflect.getOwnMetadata(PROJECTION, projectionClass) as ProjectionDefinition | undefined;
