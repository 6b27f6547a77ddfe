import { Logger } from '@nestjs/common';
import { expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../../../../../test/support/backends.js';
import { PostgresQueueServer } from './postgres-queue-server.js';

const servers = sqlServers().filter(({ dialect }) => dialect === 'postgres');

describeServers('queues on $name', servers, (backend) => {
  it('outlive that the server ends a session which is taken and waits for nothing', async () => {
    const database = await backend.create();
    const told = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const label = 'PostgreSQL of a test';
    const server = new PostgresQueueServer({ label, config: () => Promise.resolve({ connectionString: database.url }), oneSession: false, queuePrefix: 'spec' });
    try {
      const pool = await server.producers();
      const client = await pool.connect();
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      // Not `once` of node:events, which listens to errors: without another listener this one would be an uncaught exception.
      const ended = new Promise((resolve) => client.once('end', () => resolve(undefined)));
      await pool.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
      await ended;
      client.release(true);
      expect(told.mock.calls.map(([line]) => String(line))).toContainEqual(expect.stringContaining(`${label} does not answer (57P01)`));
      expect((await pool.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    } finally {
      vi.restoreAllMocks();
      await server.onApplicationShutdown();
      await database.drop();
    }
  });
});
