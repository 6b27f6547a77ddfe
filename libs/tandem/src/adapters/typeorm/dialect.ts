/** The few expressions that MySQL/MariaDB and PostgreSQL spell differently; all other SQL is the same text for both. */
import type { Dialect } from './statement-text.js';

export interface Expressions {
  /** The database's clock when the statement began: stable within it, so an index can be used. Microseconds. */
  readonly now: string;
  /** The clock plus `?` milliseconds. */
  readonly later: string;
  /** The clock minus `?` milliseconds. */
  readonly earlier: string;
  /** A point in time as microseconds since the epoch. */
  micros(time: string): string;
  /** Length of a JSON column in bytes. */
  bytes(column: string): string;
  /** A name of a result's column that keeps its capitals. */
  as(name: string): string;
  /** A JSON column as it was written. */
  text(column: string): string;
  /** Microseconds since the epoch as a literal of the time columns. */
  time(micros: number): string;
  /** `INSERT … <this>`: on a conflict over `keys`, take these columns from the new row. */
  orReplace(keys: readonly string[], columns: readonly string[]): string;
}

const wallTime = (micros: number): string => {
  const seconds = new Date(Math.floor(micros / 1_000)).toISOString().slice(0, 19).replace('T', ' ');
  return `${seconds}.${String(micros % 1_000_000).padStart(6, '0')}`;
};

const MYSQL: Expressions = {
  now: 'UTC_TIMESTAMP(6)',
  later: '(UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND)',
  earlier: '(UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND)',
  micros: (time) => `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${time})`,
  bytes: (column) => `OCTET_LENGTH(${column})`,
  as: (name) => name,
  text: (column) => column,
  time: wallTime,
  orReplace: (_keys, columns) => `ON DUPLICATE KEY UPDATE ${columns.map((column) => `${column} = VALUES(${column})`).join(', ')}`,
};

const POSTGRES: Expressions = {
  now: 'statement_timestamp()',
  later: "(statement_timestamp() + ? * interval '1 millisecond')",
  earlier: "(statement_timestamp() - ? * interval '1 millisecond')",
  micros: (time) => `(extract(epoch from ${time}) * 1000000)::bigint`,
  bytes: (column) => `octet_length(${column}::text)`,
  as: (name) => `"${name}"`,
  text: (column) => `${column}::text`,
  time: (micros) => `${wallTime(micros)}+00`,
  orReplace: (keys, columns) => `ON CONFLICT (${keys.join(', ')}) DO UPDATE SET ${columns.map((column) => `${column} = EXCLUDED.${column}`).join(', ')}`,
};

const EXPRESSIONS: Record<Dialect, Expressions> = { mysql: MYSQL, postgres: POSTGRES };

export const expressionsOf = (dialect: Dialect): Expressions => EXPRESSIONS[dialect];
