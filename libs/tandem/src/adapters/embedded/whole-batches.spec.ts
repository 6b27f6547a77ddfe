import { once } from 'node:events';
import { connect } from 'node:net';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wholeBatches } from './whole-batches.js';

const sized = (body: Buffer): Buffer => {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length + 4);
  return Buffer.concat([size, body]);
};
const START = sized(Buffer.concat([Buffer.from([0, 3, 0, 0]), Buffer.from('user\0postgres\0database\0postgres\0\0')]));
const parseOf = (sql: string): Buffer => Buffer.concat([Buffer.from('P'), sized(Buffer.from(`\0${sql}\0\0\0`))]);

describe('wholeBatches', () => {
  let db: PGlite;
  let server: PGLiteSocketServer;
  let pool: pg.Pool;
  let address: URL;

  beforeAll(async () => {
    db = await PGlite.create();
    server = new PGLiteSocketServer({ db: wholeBatches(db), host: '127.0.0.1', port: 0, maxConnections: 100 });
    await server.start();
    address = new URL(`postgres://postgres@${server.getServerConn()}/postgres`);
    pool = new pg.Pool({ connectionString: address.href, max: 8 });
    await pool.query('CREATE TABLE taken (id INT PRIMARY KEY)');
    await pool.query('INSERT INTO taken VALUES (1)');
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
    await db.close();
  });

  async function inTransaction(work: (client: pg.PoolClient) => Promise<number>): Promise<number> {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const value = await work(client);
      await client.query('COMMIT');
      return value;
    } finally {
      client.release();
    }
  }
  const sum = async (client: pg.Pool | pg.PoolClient, index: number): Promise<number> =>
    (await client.query<{ sum: number }>(`SELECT $1::int + ${index * 1_000} AS sum`, [index])).rows[0]!.sum;

  it('answers each of many connections what it asked, whatever the others do in between', async () => {
    const answers = await Promise.all(
      Array.from({ length: 800 }, (_, index) => {
        if (index % 4 === 0) return inTransaction((client) => sum(client, index));
        if (index % 4 === 1) return pool.query('INSERT INTO taken VALUES ($1)', [1]).catch((error: { code: string }) => error.code);
        return sum(pool, index);
      }),
    );
    expect(answers).toEqual(Array.from({ length: 800 }, (_, index) => (index % 4 === 1 ? '23505' : index * 1_001)));
  });

  it.each(['SELECT 1', 'SELEC 1'])('goes on when a connection is lost after it sent the beginning of %s', async (sql) => {
    const socket = connect(Number(address.port), address.hostname);
    await once(socket, 'connect');
    socket.write(START);
    await once(socket, 'data');
    socket.write(parseOf(sql));
    await once(socket, 'data');
    socket.destroy();
    expect(await inTransaction((client) => sum(client, 7))).toBe(7_007);
    expect(await sum(pool, 8)).toBe(8_008);
  });
});
