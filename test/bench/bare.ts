/** The same statements by hand with mysql2: what the database and the driver cost without Tandem. */
import { randomUUID } from 'node:crypto';
import mysql, { type Pool, type PoolConnection, type ResultSetHeader } from 'mysql2/promise';

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

/** START TRANSACTION, the work, COMMIT. */
export async function inTransaction<T>(pool: Pool, work: (connection: PoolConnection) => Promise<T>): Promise<T> {
  const connection = await connectionOf(pool);
  try {
    await connection.query('START TRANSACTION');
    const result = await work(connection);
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    await connection.query('ROLLBACK');
    throw error;
  } finally {
    connection.release();
  }
}

/** One UPDATE and two events appended as Tandem's log has them: number from the shard, INSERT, COMMIT. */
export async function bareCharge(pool: Pool, id: string, account: number): Promise<void> {
  const stream = `charge-${id}`;
  const shard = Math.floor(Math.random() * 64);
  await inTransaction(pool, async (connection) => {
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
  });
}
