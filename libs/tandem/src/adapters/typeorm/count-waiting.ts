import type { CountRequest, Counts } from '../../events/event-log.js';
import { expressionsOf } from './dialect.js';
import type { Sql } from './sql.js';
import type { TableNames } from './table-names.js';

interface Counted {
  readonly request: number;
  readonly own: number | string;
  readonly any_type: number | string;
  readonly oldest: number | string | null;
  readonly read_at: number | string;
}

const BEHIND = 'shard = ? AND seq > ?';

/** One statement for all requests; each walks along the primary key from its positions on, and no further than it asks for. */
export async function countWaiting(sql: Sql, requests: readonly CountRequest[], tables: TableNames): Promise<Counts> {
  const { micros, now } = expressionsOf(sql.dialect);
  const counts = requests.map(
    (request, index) =>
      `(SELECT ${index} AS request, COUNT(own) AS own, COUNT(*) AS any_type, ${micros('MIN(own)')} AS oldest, ${micros(now)} AS read_at FROM (${walk(sql, request, tables)} LIMIT ?) AS waiting)`,
  );
  const params = requests.flatMap((request) => [...walkParams(sql, request), request.upTo]);
  const rows = await sql.query<Counted[]>(counts.join(' UNION ALL '), params);
  const found = new Map(rows.map((row) => [Number(row.request), row]));
  return {
    nowMicros: Number(rows[0]?.read_at ?? 0),
    waiting: requests.map((_, index) => {
      const { any_type, oldest, own } = found.get(index)!;
      return { own: Number(own), any: Number(any_type), oldestMicros: oldest === null ? undefined : Number(oldest) };
    }),
  };
}

function walk({ dialect }: Sql, { after }: CountRequest, { event }: TableNames): string {
  const own = 'SELECT CASE WHEN type IN (?) THEN recorded_at END AS own';
  const shards = [...after];
  if (dialect === 'mysql') return `${own} FROM ${event} FORCE INDEX (PRIMARY) WHERE ${shards.map(() => `(${BEHIND})`).join(' OR ')}`;
  return `SELECT own FROM (${shards.map(() => `(${own} FROM ${event} WHERE ${BEHIND} LIMIT ?)`).join(' UNION ALL ')}) AS walk`;
}

function walkParams({ dialect }: Sql, { after, types, upTo }: CountRequest): readonly unknown[] {
  if (dialect === 'mysql') return [types, ...[...after].flat()];
  return [...after].flatMap(([shard, seq]) => [types, shard, seq, upTo]);
}
