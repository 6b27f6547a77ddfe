import { Big } from 'big.js';
import type { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';

/** TypeORM's metadata of a column. */
export type ColumnMetadata = DataSource['entityMetadatas'][number]['columns'][number];

const TEXTS = new Set(['varchar', 'character varying', 'nvarchar', 'char', 'character', 'text', 'tinytext', 'mediumtext', 'longtext', 'citext', 'uuid']);
const INTEGERS = new Set(['int', 'integer', 'int2', 'int4', 'smallint', 'mediumint', 'tinyint']);
const BIG_INTEGERS = new Set(['bigint', 'int8']);
const DECIMALS = new Set(['decimal', 'numeric', 'dec', 'fixed']);
const FLOATS = new Set(['float', 'double', 'double precision', 'real', 'float4', 'float8']);
/** Converted by TypeORM, and none of them loses anything on the way there and back. */
const EXACT = new Set(['number', 'string', 'boolean', 'bool', 'enum', 'simple-enum', 'date']);

/** How a column's type behaves. */
export type ColumnKind = 'text' | 'integer' | 'bigint' | 'decimal' | 'float' | 'other';

/** Type name as written in the entity; `String`, `Number` and `Boolean` in lower case, `Date` as the datetime that it becomes. */
export function typeName({ type }: ColumnMetadata): string {
  if (typeof type !== 'function') return String(type);
  return type === Date ? 'datetime' : type.name.toLowerCase();
}

function kindOf(column: ColumnMetadata): ColumnKind {
  const type = typeName(column);
  if (column.isArray) return 'other';
  if (TEXTS.has(type) || type === 'string') return 'text';
  if (INTEGERS.has(type) || type === 'number') return 'integer';
  if (BIG_INTEGERS.has(type)) return 'bigint';
  if (DECIMALS.has(type)) return 'decimal';
  return FLOATS.has(type) ? 'float' : 'other';
}

/** A column of a read entity: how its value travels between entity and database. */
export class RowColumn {
  readonly kind: ColumnKind;
  /** Quoted for SQL. */
  readonly name: string;
  /** Writing a loaded value back changes nothing. Not so for times (a Date has milliseconds, a column microseconds), floats and JSON. */
  readonly exact: boolean;
  /** The driver's value and the entity's are the same: no conversion, which is most of the cost of a row. */
  private readonly plain: boolean;
  private readonly property: string;

  constructor(
    readonly metadata: ColumnMetadata,
    private readonly driver: DataSource['driver'],
  ) {
    this.kind = kindOf(metadata);
    this.name = driver.escape(metadata.databaseName);
    this.property = metadata.propertyName;
    const simple = !metadata.transformer && !metadata.isArray;
    this.plain = simple && !metadata.embeddedMetadata && this.kind !== 'other' && typeof metadata.type === 'string';
    this.exact = simple && (EXACT.has(typeName(metadata)) || (this.kind !== 'other' && this.kind !== 'float'));
  }

  /** Property of the entity; dotted inside an embedded one. */
  get path(): string {
    return this.metadata.propertyPath;
  }

  read(row: Record<string, unknown>, entity: object): void {
    const value = row[this.metadata.databaseName];
    this.set(entity, this.plain ? value : this.driver.prepareHydratedValue(value, this.metadata));
  }

  /** What the entity holds. */
  get(entity: object): unknown {
    return this.plain ? (entity as Record<string, unknown>)[this.property] : this.metadata.getEntityValue(entity);
  }

  set(entity: object, value: unknown): void {
    if (this.plain) (entity as Record<string, unknown>)[this.property] = value;
    else this.metadata.setEntityValue(entity, value);
  }

  /** What is sent to the database; undefined when the entity has no value. @throws TANDEM_PAYLOAD_REFUSED for NaN and Infinity: PostgreSQL would keep them. */
  write(entity: object): unknown {
    const held = this.get(entity);
    const value: unknown = this.plain ? held : this.driver.preparePersistentValue(held, this.metadata);
    if (typeof value !== 'number' || Number.isFinite(value)) return value;
    throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${this.metadata.entityMetadata.name}.${this.path} became ${value}`, {
      next: 'Look for a column without default, or an event without the value, in the handler.',
    });
  }

  /** What a new row holds before a handler sees it, as if it had been loaded; undefined leaves it to the database's DEFAULT. */
  initial(): unknown {
    const { metadata } = this;
    if (metadata.isVersion || metadata.isCreateDate || metadata.isUpdateDate || typeof metadata.default === 'function') return undefined;
    if (metadata.default === undefined || metadata.default === null) return metadata.isNullable ? null : undefined;
    const value = this.asLoaded(metadata.default);
    return metadata.transformer && value !== undefined ? (this.driver.prepareHydratedValue(value, metadata) as unknown) : value;
  }

  private asLoaded(value: unknown): unknown {
    const type = typeName(this.metadata);
    if (type === 'boolean' || type === 'bool') return value === true || value === 1 || value === '1' || value === 'true';
    if (typeof value !== 'string' && typeof value !== 'number') return undefined;
    if (this.kind === 'decimal') return new Big(value).toFixed(this.scale);
    if (this.kind === 'bigint') return String(value);
    if (this.kind === 'integer' || this.kind === 'float') return Number(value);
    return this.kind === 'text' || type === 'enum' || type === 'simple-enum' ? value : undefined;
  }

  /** Decimal places that the column keeps; undefined when it keeps any number of them. */
  get scale(): number | undefined {
    if (this.kind === 'integer' || this.kind === 'bigint') return 0;
    if (this.kind !== 'decimal') return undefined;
    const { scale, precision } = this.metadata;
    const unbounded = this.driver.options.type === 'postgres' && (precision === undefined || precision === null);
    return scale ?? (unbounded ? undefined : 0);
  }
}

/** Something to compare values by: equal for values that are written alike. */
export function fingerprint(value: unknown): unknown {
  if (value instanceof Date) return value.getTime();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
}
