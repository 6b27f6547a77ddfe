import { TandemError } from '../../kernel/errors.js';

export type Dialect = 'mysql' | 'postgres';

/** Quotes and comments as the dialect reads them, then what is looked for outside of them. */
const PIECES: Record<Dialect, RegExp> = {
  mysql: /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`[^`]*`|--[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/|[?;]/g,
  postgres: /'(?:[^']|'')*'|"[^"]*"|\$([A-Za-z_]*)\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\/|[?;]/g,
};

const REMEMBERED_LENGTH = 2_000;
const REMEMBERED = 500;
const remembered: Record<Dialect, Map<string, readonly string[]>> = { mysql: new Map(), postgres: new Map() };

/** Cuts a text at every `mark` that stands outside of quotes and comments. */
export function cutAt(mark: '?' | ';', text: string, dialect: Dialect): string[] {
  const parts: string[] = [];
  let from = 0;
  for (const match of text.matchAll(PIECES[dialect])) {
    if (match[0] !== mark) continue;
    parts.push(text.slice(from, match.index));
    from = match.index + 1;
  }
  parts.push(text.slice(from));
  return parts;
}

function placeholderParts(text: string, dialect: Dialect): readonly string[] {
  const known = remembered[dialect].get(text);
  if (known) return known;
  const parts = cutAt('?', text, dialect);
  if (text.length <= REMEMBERED_LENGTH && remembered[dialect].size < REMEMBERED) remembered[dialect].set(text, parts);
  return parts;
}

export interface BoundText {
  readonly text: string;
  readonly params: readonly unknown[];
}

/** Walks the placeholders: `write` says what stands in the text for each single value. An array stands for its values, separated by commas. */
function fill(dialect: Dialect, text: string, params: readonly unknown[], write: (value: unknown) => string): string {
  const parts = placeholderParts(text, dialect);
  if (parts.length - 1 !== params.length) {
    throw new TandemError('TANDEM_STATEMENT_INVALID', `A statement has ${parts.length - 1} placeholders but ${params.length} parameters were given: ${text.slice(0, 120)}`);
  }
  let filled = parts[0]!;
  params.forEach((param, i) => {
    if (!Array.isArray(param)) filled += write(plain(param, text));
    else if (param.length === 0) throw new TandemError('TANDEM_STATEMENT_INVALID', `Parameter ${i + 1} is an empty list: ${text.slice(0, 120)}`);
    else filled += param.map((value) => write(plain(value, text))).join(', ');
    filled += parts[i + 1];
  });
  return filled;
}

/** Values that both drivers write alike. A plain object would become SQL of its own in mysql2 and JSON in pg. */
function plain(value: unknown, text: string): unknown {
  if (value === undefined || value === null) return null;
  if (value instanceof Date || Buffer.isBuffer(value) || typeof value !== 'object') return typeof value === 'bigint' ? value.toString() : value;
  throw new TandemError('TANDEM_STATEMENT_INVALID', `A parameter is neither a simple value, a Date, a Buffer nor a list of those: ${text.slice(0, 120)}`);
}

/** `?` → `$1`, `$2`, … Dates go as UTC, whatever the process's time zone is. */
export function bindPostgres(text: string, params: readonly unknown[]): BoundText {
  const flat: unknown[] = [];
  const filled = fill('postgres', text, params, (value) => `$${flat.push(value instanceof Date ? value.toISOString() : value)}`);
  return { text: filled, params: flat };
}

/** `?` → the escaped value, as mysql2's text protocol does it, but never inside quotes. Dates go as UTC. */
export function bindMysql(text: string, params: readonly unknown[], escape: (value: unknown) => string): string {
  return fill('mysql', text, params, (value) => escape(value instanceof Date ? value.toISOString().slice(0, 23).replace('T', ' ') : value));
}

/**
 * `(?, ?), (?, ?)` and its parameters, for a multi-row INSERT.
 * @example const { text, params } = valuesList(jobs, ['id', 'name']); sql.query(`INSERT INTO job (id, name) VALUES ${text}`, params)
 */
export function valuesList<T extends object>(rows: readonly T[], columns: readonly (keyof T & string)[]): BoundText {
  if (rows.length === 0 || columns.length === 0) throw new TandemError('TANDEM_STATEMENT_INVALID', 'A list of values has no rows or no columns');
  const row = `(${columns.map(() => '?').join(', ')})`;
  return { text: rows.map(() => row).join(', '), params: rows.flatMap((values) => columns.map((column) => values[column] as unknown)) };
}
