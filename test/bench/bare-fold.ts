/** Catch-up by hand: in batches, as well as one can without a library; and one BullMQ job and one transaction an event, as teams often have it. */
import { Queue, Worker } from 'bullmq';
import type { Pool, PoolConnection, RowDataPacket } from 'mysql2/promise';
import { inTransaction } from './bare.js';
import type { BenchPlace } from './ledger.js';

interface EventRow extends RowDataPacket {
  readonly seq: number;
  readonly stream: string;
  readonly type: string;
  readonly payload: string;
}
interface ViewRow {
  id: string;
  status: string;
  amount: string;
  changes: number;
}

/** Folds one shard's events into the view in batches: read, load rows, fold, upsert, checkpoint, COMMIT. Returns how many events. */
export async function bareFold(pool: Pool, shard: number, batch: number): Promise<number> {
  let position = 0;
  let count = 0;
  for (;;) {
    const events = await inTransaction(pool, async (connection) => {
      await connection.query('SELECT seq FROM bench_checkpoint WHERE id = ? FOR UPDATE', [shard]);
      const [rows] = await connection.query<EventRow[]>('SELECT seq, stream, type, payload FROM tandem_event WHERE shard = ? AND seq > ? ORDER BY seq LIMIT ?', [
        shard,
        position,
        batch,
      ]);
      if (rows.length === 0) return rows;
      await foldInto(connection, rows);
      await connection.query('UPDATE bench_checkpoint SET seq = ? WHERE id = ?', [rows.at(-1)!.seq, shard]);
      return rows;
    });
    position = events.at(-1)?.seq ?? position;
    count += events.length;
    if (events.length < batch) return count;
  }
}

async function foldInto(connection: PoolConnection, events: readonly EventRow[]): Promise<void> {
  const keys = [...new Set(events.map(({ stream }) => stream.slice('charge-'.length)))];
  const [found] = await connection.query<(ViewRow & RowDataPacket)[]>('SELECT id, status, amount, changes FROM bench_view WHERE id IN (?)', [keys]);
  const rows = new Map<string, ViewRow>(found.map((row) => [row.id, row]));
  for (const event of events) {
    const payload = JSON.parse(event.payload) as { id: string; amount: string };
    const row = rows.get(payload.id) ?? { id: payload.id, status: '', amount: '0', changes: 0 };
    rows.set(payload.id, row);
    if (event.type === 'bench.charged') Object.assign(row, { status: 'charged', amount: payload.amount });
    else row.status = 'noted';
    row.changes += 1;
  }
  await connection.query(
    'INSERT INTO bench_view (id, status, amount, changes) VALUES ? ON DUPLICATE KEY UPDATE status = VALUES(status), amount = VALUES(amount), changes = VALUES(changes)',
    [[...rows.values()].map(({ id, status, amount, changes }) => [id, status, amount, changes])],
  );
}

interface EventJob {
  readonly eventId: string;
  readonly type: string;
  readonly payload: string;
}

const JOBS_AT_ONCE = 16;

/** Jobs for these events, and a worker that takes each in a transaction of its own, which also remembers the event against a second run. Returns how many. */
export async function jobAnEvent(pool: Pool, place: BenchPlace, events: number): Promise<number> {
  const [rows] = await pool.query<(EventRow & RowDataPacket)[]>('SELECT event_id AS eventId, type, payload FROM tandem_event WHERE shard < 8 LIMIT ?', [events]);
  const connection = { url: place.redisUrl };
  const queue = new Queue<EventJob>('by-hand', { connection, prefix: place.queuePrefix });
  const worker = new Worker<EventJob>('by-hand', ({ data }) => applyOne(pool, data), { connection, prefix: place.queuePrefix, concurrency: JOBS_AT_ONCE, autorun: false });
  const done = new Promise<void>((resolve, reject) => {
    let left = rows.length;
    worker.on('completed', () => --left === 0 && resolve());
    worker.on('failed', (_, error) => reject(error));
    worker.on('error', reject);
  });
  try {
    void worker.run();
    for (let from = 0; from < rows.length; from += 500) {
      await queue.addBulk(rows.slice(from, from + 500).map((data) => ({ name: 'event', data: { ...data } as unknown as EventJob, opts: { removeOnComplete: true } })));
    }
    await done;
    return rows.length;
  } finally {
    await worker.close();
    await queue.obliterate({ force: true });
    await queue.close();
  }
}

async function applyOne(pool: Pool, { eventId, type, payload }: EventJob): Promise<void> {
  const { id, amount } = JSON.parse(payload) as { id: string; amount?: string };
  await inTransaction(pool, async (connection) => {
    await connection.query('INSERT INTO bench_seen (event_id) VALUES (?)', [eventId]);
    const [status, amounts] = type === 'bench.charged' ? ['charged', ', amount = VALUES(amount)'] : ['noted', ''];
    await connection.query(
      `INSERT INTO bench_view (id, status, amount, changes) VALUES (?, ?, ?, 1) ON DUPLICATE KEY UPDATE status = VALUES(status), changes = changes + 1${amounts}`,
      [id, status, amount ?? '0'],
    );
  });
}
