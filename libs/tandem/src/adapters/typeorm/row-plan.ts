import type { Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { rowId, type KeyValues, type RowShape } from '../../read/projection/row-store.js';
import { dialectOf } from './driver-link.js';
import { RowColumn, typeName, type ColumnMetadata } from './row-column.js';
import { quotedPath } from './quoted-path.js';
import type { Dialect } from './sql.js';

type EntityMetadata = DataSource['entityMetadatas'][number];

const KEY_TYPES_THAT_CHANGE = new Set([
  'datetime',
  'timestamp',
  'timestamptz',
  'timestamp with time zone',
  'timestamp without time zone',
  'json',
  'jsonb',
  'simple-json',
  'simple-array',
  'boolean',
  'bool',
]);

/** What is known of a read entity's table, taken once from TypeORM's metadata. */
export class RowPlan {
  readonly shape: RowShape;
  /** Quoted, with schema. */
  readonly table: string;
  readonly dialect: Dialect;
  readonly keys: readonly RowColumn[];
  /** All but the keys and what the database computes. */
  readonly columns: readonly RowColumn[];
  /** Those that an INSERT names. */
  readonly insertable: readonly RowColumn[];
  /** All columns of the row, to load. */
  readonly loaded: readonly RowColumn[];
  /** Besides the key something else must be unique, or is checked: an upsert could hit another row, or fail on values that are only added. */
  readonly constrained: boolean;
  /** What a new row holds; taken once, by column. */
  private initials: readonly unknown[] | undefined;
  private readonly byPath: ReadonlyMap<string, RowColumn>;

  constructor(
    private readonly metadata: EntityMetadata,
    dataSource: DataSource,
    table = metadata.tablePath,
  ) {
    refuseUnfit(metadata, dataSource);
    const { driver } = dataSource;
    const columns = metadata.columns.filter((column) => !column.isVirtual && !column.isVirtualProperty).map((column) => new RowColumn(column, driver));
    this.loaded = columns;
    this.keys = columns.filter(({ metadata: { isPrimary } }) => isPrimary);
    this.columns = columns.filter(({ metadata: { isPrimary, generatedType, isGenerated } }) => !isPrimary && generatedType === undefined && !isGenerated);
    this.insertable = this.columns.filter(({ metadata: { isInsert } }) => isInsert);
    this.byPath = new Map(this.columns.map((column) => [column.path, column]));
    this.table = quotedPath(dataSource, table);
    this.dialect = dialectOf(dataSource);
    this.constrained =
      metadata.uniques.length > 0 || metadata.checks.length > 0 || metadata.indices.some((index) => index.isUnique) || columns.some((column) => column.metadata.unsigned);
    this.shape = { keys: this.keys.map((key) => key.path), columns: [...this.byPath.keys()], constrained: this.constrained };
  }

  get entityName(): string {
    return this.metadata.name;
  }

  /** @throws TANDEM_WIRING when the entity has no such column. */
  column(path: string): RowColumn {
    const column = this.byPath.get(path);
    if (!column) throw new TandemError('TANDEM_WIRING', `${this.entityName} has no column "${path}" that a projection may write`);
    return column;
  }

  fresh(key: KeyValues): object {
    const entity = this.metadata.create() as object;
    this.initials ??= this.columns.map((column) => column.initial());
    this.columns.forEach((column, i) => {
      if (column.get(entity) !== undefined) return;
      const known = this.initials![i];
      // two rows must not share an object
      const initial = typeof known === 'object' && known !== null ? column.initial() : known;
      // an embedded object is there even when nothing is known of it: a handler fills it
      if (initial !== undefined || column.metadata.embeddedMetadata) column.set(entity, initial);
    });
    return this.withKey(entity, key);
  }

  /** A key value as it comes back from the database: `'17'` of a stream becomes 17 in an int column. */
  withKey(entity: object, key: KeyValues): object {
    for (const column of this.keys) {
      const { kind, path } = column;
      const value = key[path]!;
      const whole = kind === 'integer' && typeof value === 'string' && /^-?\d{1,15}$/.test(value);
      column.set(entity, kind === 'text' || kind === 'bigint' ? String(value) : whole ? Number(value) : value);
    }
    return entity;
  }

  /** Key values as they are sent to the database. */
  keyParams(key: KeyValues): unknown[] {
    const entity = this.withKey({}, key);
    return this.keys.map((column) => column.write(entity));
  }

  hydrate(row: Record<string, unknown>): object {
    const entity = this.metadata.create() as object;
    for (const column of this.loaded) column.read(row, entity);
    return entity;
  }

  idOf(entity: object): string {
    return rowId(this.shape, entity as KeyValues);
  }
}

/** @param table the table that the rows are in, where that is not the entity's own. @throws TANDEM_WIRING */
export function planFor(entity: Type, dataSource: DataSource, table?: string): RowPlan {
  if (!dataSource.hasMetadata(entity)) {
    throw new TandemError('TANDEM_WIRING', `${entity.name} is no entity of the data source that Tandem uses`, {
      next: 'Add it to the `entities` of the data source, or to TypeOrmModule.forFeature with autoLoadEntities.',
    });
  }
  return new RowPlan(dataSource.getMetadata(entity), dataSource, table);
}

function refuseUnfit(metadata: EntityMetadata, { driver }: DataSource): void {
  const refuse = (why: string, next: string): never => {
    throw new TandemError('TANDEM_WIRING', `${metadata.name} cannot be the entity of a row projection: ${why}`, { next });
  };
  const free = 'Leave `entity` out: a free projection writes with its EntityManager what it likes.';
  if (metadata.tableType !== 'regular') refuse(`it is a ${metadata.tableType}, not a table of its own`, free);
  if (metadata.discriminatorColumn) refuse('it shares its table with other entities (single-table inheritance)', free);
  for (const key of metadata.primaryColumns) {
    const why = unfitKey(key);
    if (why) refuse(`its key ${key.propertyPath} ${why}`, 'The key must come from the event: plain text, whole number or date columns.');
  }
  for (const column of metadata.columns) {
    if ((driver.spatialTypes as readonly unknown[]).includes(column.type)) refuse(`its column ${column.propertyPath} is spatial`, free);
  }
}

function unfitKey(key: ColumnMetadata): string | undefined {
  if (key.isGenerated) return 'is generated by the database';
  if (key.relationMetadata || key.referencedColumn) return 'is a relation';
  if (key.embeddedMetadata) return 'is in an embedded class';
  if (key.transformer) return 'has a transformer';
  if (key.isArray || KEY_TYPES_THAT_CHANGE.has(typeName(key))) return `is of type ${typeName(key)}`;
  return undefined;
}
