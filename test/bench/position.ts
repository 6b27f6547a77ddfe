/** Moves the ledger's projection by hand, so that what one variant appended is not another's work. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'mysql2/promise';

const CONSUMER = 'bench.view';

export const pauseView = (pool: Pool): Promise<unknown> =>
  pool.query("UPDATE tandem_consumer SET state = 'paused', state_reason = 'the benchmark measures something else' WHERE name = ?", [CONSUMER]);

export const resumeView = (pool: Pool): Promise<unknown> => pool.query("UPDATE tandem_consumer SET state = 'running', state_reason = NULL WHERE name = ?", [CONSUMER]);

/** Leaves so many events of each shard to read; default none. */
export const placeBehind = (pool: Pool, eventsPerShard = 0): Promise<unknown> =>
  pool.query('UPDATE tandem_checkpoint p JOIN tandem_shard s ON s.shard = p.shard SET p.seq = GREATEST(0, s.head - ?), p.event_id = NULL WHERE p.consumer = ?', [
    eventsPerShard,
    CONSUMER,
  ]);

export async function atHead(pool: Pool): Promise<void> {
  for (;;) {
    const [rows] = await pool.query<never[]>('SELECT 1 FROM tandem_checkpoint p JOIN tandem_shard s ON s.shard = p.shard AND s.head > p.seq WHERE p.consumer = ? LIMIT 1', [
      CONSUMER,
    ]);
    if (rows.length === 0) return;
    await sleep(25);
  }
}
