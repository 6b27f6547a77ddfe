/** The same statements by hand with mysql2: what the database and the driver cost without Tandem. */
import { randomUUID } from 'node:crypto';
import mysql, { type Pool, type PoolConnection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';

const METADATA = '{"correlationId":"0190b6f0-0000-7000-8000-000000000000","causationId":"0190b6f0-0000-7000-8000-000000000001"}';

export const barePool = (url: string, connectionLimit = 32): Pool => mysql.createPool({ uri: url, connectionLimit });

const ready = new WeakSet<object>();
async function connectionOf(pool: Pool): Promise<PoolConnection> {
  const connection = await pool.getConnection();
  if (!ready.has(connection.connection)) {
    ready.add(connection.connection);
    await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  }
  return connection;
}

/** One UPDATE and two events appended as Tandem's log has them: number from the shard, INSERT, COMMIT. */
export async function bareCharge(pool: Pool, id: string, account: number): Promise<void> {
  const connection = await connectionOf(pool);
  const stream = `charge-${id}`;
  const shard = Math.floor(Math.random() * 64);
  try {
    await connection.query('START TRANSACTION');
    await connection.query('UPDATE bench_account SET balance = balance + ? WHERE id = ?', [1, account]);
    const [header] = await connection.query<ResultSetHeader>('UPDATE tandem_shard SET head = LAST_INSERT_ID(head + ?) WHERE shard = ?', [2, shard]);
    const head = header.insertId;
    const row = (seq: number, version: number, type: string, payload: object) => [
      shard,
      seq,
      randomUUID(),
      '',
      stream,
      version,
      type,
      1,
      JSON.stringify(payload),
      METADATA,
      new Date(),
    ];
    await connection.query('INSERT INTO tandem_event (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES ?', [
      [row(head - 1, 1, 'bench.charged', { id, account, amount: '12.3400' }), row(head, 2, 'bench.noted', { id, text: 'a charge was made' })],
    ]);
    await connection.query('COMMIT');
  } catch (error) {
    await connection.query('ROLLBACK');
    throw error;
  } finally {
    connection.release();
  }
}

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
    const connection = await connectionOf(pool);
    try {
      await connection.query('START TRANSACTION');
      await connection.query('SELECT seq FROM bench_checkpoint WHERE id = ? FOR UPDATE', [shard]);
      const [events] = await connection.query<EventRow[]>('SELECT seq, stream, type, payload FROM tandem_event WHERE shard = ? AND seq > ? ORDER BY seq LIMIT ?', [
        shard,
        position,
        batch,
      ]);
      if (events.length > 0) {
        await foldInto(connection, events);
        position = events.at(-1)!.seq;
        await connection.query('UPDATE bench_checkpoint SET seq = ? WHERE id = ?', [position, shard]);
      }
      await connection.query('COMMIT');
      count += events.length;
      if (events.length < batch) return count;
    } finally {
      connection.release();
    }
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
