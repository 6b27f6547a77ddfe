/** Moves consumers by hand, most often the ledger's projection, so that what one variant appended is not another's work. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'mysql2/promise';

const VIEW = 'bench.view';

export const pause = (pool: Pool, consumer = VIEW): Promise<unknown> =>
  pool.query("UPDATE tandem_consumer SET state = 'paused', state_reason = 'the benchmark measures something else' WHERE name = ?", [consumer]);

export const resume = (pool: Pool, consumer = VIEW): Promise<unknown> => pool.query("UPDATE tandem_consumer SET state = 'running', state_reason = NULL WHERE name = ?", [consumer]);

/** Leaves so many events of each shard to read; default none. */
export const placeBehind = (pool: Pool, eventsPerShard = 0, consumer = VIEW): Promise<unknown> =>
  pool.query('UPDATE tandem_checkpoint p JOIN tandem_shard s ON s.shard = p.shard SET p.seq = GREATEST(0, s.head - ?), p.event_id = NULL WHERE p.consumer = ?', [
    eventsPerShard,
    consumer,
  ]);

export async function atHead(pool: Pool): Promise<void> {
  for (;;) {
    const [rows] = await pool.query<never[]>('SELECT 1 FROM tandem_checkpoint p JOIN tandem_shard s ON s.shard = p.shard AND s.head > p.seq WHERE p.consumer = ? LIMIT 1', [VIEW]);
    if (rows.length === 0) return;
    await sleep(25);
  }
}
