import { createHash } from 'node:crypto';
import type { ShadowTable } from '../../read/projection/rebuild/rebuild-store.js';

/** PostgreSQL's limit; MySQL's is one more. */
const LONGEST = 63;

/** `order_view__g2` beside `order_view`; a long name is cut, and told apart from others by a hash. */
export function shadowNames(entity: string, path: string, { generation, live }: { readonly generation: number; readonly live: number }): ShadowTable {
  return { entity, live: path, shadow: suffixed(path, `__g${generation}`), old: suffixed(path, `__g${live}_old`) };
}

/** The last part of a path. */
export const tableOf = (path: string): string => path.split('.').at(-1)!;

/** What stands before the last part, or undefined. */
export const schemaOf = (path: string): string | undefined => path.split('.').slice(0, -1).join('.') || undefined;

function suffixed(path: string, suffix: string): string {
  const schema = schemaOf(path);
  const table = tableOf(path);
  const hash = `_${createHash('sha256').update(table).digest('hex').slice(0, 8)}`;
  const name = table.length + suffix.length <= LONGEST ? table : table.slice(0, LONGEST - suffix.length - hash.length) + hash;
  return `${schema === undefined ? '' : `${schema}.`}${name}${suffix}`;
}
