import type { Pool } from 'mysql2/promise';

const SHARDS = 64;
const METADATA = '{"correlationId":"0190b6f0-0000-7000-8000-000000000000","causationId":"0190b6f0-0000-7000-8000-000000000001"}';

/** An even log: the same number of events in every shard, two to a stream. Made by MariaDB itself, shard by shard. Answers how many there are. */
export async function fillLog(pool: Pool, events: number): Promise<number> {
  const perShard = Math.ceil(events / SHARDS / 2) * 2;
  await pool.query('TRUNCATE tandem_event');
  for (let shard = 0; shard < SHARDS; shard++) {
    const id = `CONCAT('${shard}-', (seq + 1) DIV 2)`;
    await pool.query(
      `INSERT INTO tandem_event (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at)
       SELECT ${shard}, seq, UUID(), '', CONCAT('charge-', ${id}), 2 - seq % 2, IF(seq % 2 = 1, 'bench.charged', 'bench.noted'), 1,
         IF(seq % 2 = 1, CONCAT('{"id":"', ${id}, '","account":1,"amount":"12.3400"}'), CONCAT('{"id":"', ${id}, '","text":"a charge was made"}')),
         ?, '2026-01-01' + INTERVAL seq SECOND
       FROM seq_1_to_${perShard}`,
      [METADATA],
    );
  }
  await pool.query('UPDATE tandem_shard SET head = ?', [perShard]);
  return perShard * SHARDS;
}
