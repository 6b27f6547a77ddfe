import { randomUUID } from 'node:crypto';
import type { Pool } from 'mysql2/promise';

const SHARDS = 64;
const ROWS = 1_000;

/** An even log: the same number of events in every shard, two to a stream. Adds to what `from` says is there of each shard. Answers how many there are then. */
export async function fillLog(pool: Pool, events: number, from = 0): Promise<number> {
  const perShard = Math.ceil(events / SHARDS / 2) * 2;
  if (from === 0) await pool.query('TRUNCATE tandem_event');
  for (let shard = 0; shard < SHARDS; shard++) {
    for (let first = from; first < perShard; first += ROWS) {
      const rows = Array.from({ length: Math.min(ROWS, perShard - first) }, (_, index) => eventRow(shard, first + index + 1));
      await pool.query('INSERT INTO tandem_event (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ?', [rows]);
    }
  }
  await pool.query('UPDATE tandem_shard SET head = ?', [perShard]);
  return perShard * SHARDS;
}

function eventRow(shard: number, seq: number): unknown[] {
  const isFirst = seq % 2 === 1;
  const id = `${shard}-${Math.ceil(seq / 2)}`;
  const payload = isFirst ? { id, account: 1, amount: '12.3400' } : { id, text: 'a charge was made' };
  const type = isFirst ? 'bench.charged' : 'bench.noted';
  const metadata = '{"correlationId":"0190b6f0-0000-7000-8000-000000000000","causationId":"0190b6f0-0000-7000-8000-000000000001"}';
  return [shard, seq, randomUUID(), '', `charge-${id}`, isFirst ? 1 : 2, type, 1, JSON.stringify(payload), metadata, '2026-01-01 00:00:00'];
}
