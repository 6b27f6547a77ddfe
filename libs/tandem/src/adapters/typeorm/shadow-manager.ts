/**
 * An EntityManager on the same connection whose entities are in other tables. What a free projection does with entities then
 * goes where rows are being rebuilt, without a word of its own; SQL by hand must take the name from its context.
 */
import type { Type } from '@nestjs/common';
import { type DataSource, EntityManager, type QueryRunner } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';

/** Entity → path of the table that stands in for its own. */
export type Shadows = ReadonlyMap<Type, string>;

type Metadata = DataSource['entityMetadatas'][number];

const managers = new WeakMap<QueryRunner, EntityManager>();

export function shadowManager({ dataSource, queryRunner }: EntityManager, shadows: Shadows): EntityManager {
  const known = managers.get(queryRunner!);
  if (known) return known;
  const source = shadowed(dataSource, shadows);
  const runner = Object.create(queryRunner!) as QueryRunner;
  const manager = new EntityManager(source, runner);
  const refuse = refusal(dataSource, shadows);
  const query = queryRunner!.query.bind(queryRunner) as (...args: unknown[]) => Promise<unknown>;
  const transaction = queryRunner!.manager.transaction.bind(queryRunner!.manager) as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperties(runner, {
    manager: { value: manager },
    dataSource: { value: source },
    query: {
      value: async (text: string, ...rest: unknown[]) => {
        refuse(text);
        return query(text, ...rest);
      },
    },
  });
  Object.assign(manager, {
    query: (text: string, parameters?: unknown[]) => runner.query(text, parameters),
    // A savepoint of the unit, in which the work goes on with this manager.
    transaction: (...args: unknown[]) => transaction(() => (args.at(-1) as (given: EntityManager) => Promise<unknown>)(manager)),
  });
  managers.set(queryRunner!, manager);
  return manager;
}

/** The same data source to all but the entities that stand elsewhere. */
function shadowed(dataSource: DataSource, shadows: Shadows): DataSource {
  const others = new Map<Metadata, Metadata>();
  for (const [entity, path] of shadows) {
    const metadata = dataSource.getMetadata(entity);
    others.set(metadata, Object.assign(Object.create(metadata) as Metadata, { tablePath: path, tableName: path.split('.').at(-1)! }));
  }
  const swap = (metadata: Metadata): Metadata => others.get(metadata) ?? metadata;
  const source: DataSource = Object.create(dataSource) as DataSource;
  const own = Object.getPrototypeOf(dataSource) as DataSource;
  return Object.defineProperties(source, {
    entityMetadatas: { value: dataSource.entityMetadatas.map(swap) },
    entityMetadatasMap: { value: new Map(dataSource.entityMetadatas.map((metadata) => [metadata.target, swap(metadata)])) },
    findMetadata: { value: (target: never) => found(dataSource, target, swap) },
    getMetadata: { value: (target: never) => swap(dataSource.getMetadata(target)) },
    // Those of a joined data source are its own, and bound to it.
    createQueryBuilder: { value: own.createQueryBuilder },
    createEntityManager: { value: own.createEntityManager },
    query: { value: own.query },
  });
}

function found(dataSource: DataSource, target: never, swap: (metadata: Metadata) => Metadata): Metadata | undefined {
  return dataSource.hasMetadata(target) ? swap(dataSource.getMetadata(target)) : undefined;
}

/** A net, not a proof: the name of a live table where SQL names a table to write or read. */
function refusal(dataSource: DataSource, shadows: Shadows): (text: string) => void {
  const names = [...shadows.keys()].map((entity) => dataSource.getMetadata(entity).tableName);
  const named = new RegExp(`\\b(?:FROM|INTO|UPDATE|JOIN|TABLE|USING)\\s+(?:[\`"]?\\w+[\`"]?\\.)?[\`"]?(${names.map(escaped).join('|')})[\`"]?(?![\\w$])`, 'i');
  return (text) => {
    const name = named.exec(text)?.[1];
    if (name === undefined) return;
    throw new TandemError('TANDEM_REBUILD_REFUSED', `SQL of a free projection names ${name} while it is rebuilt, which are the rows that are being served`, {
      next: "Take the name from the context, the method's fourth argument: `${context.table(Entity)}`.",
    });
  };
}

const escaped = (name: string): string => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
