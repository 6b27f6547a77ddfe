import { DataSource } from 'typeorm';
import { expect, it } from 'vitest';
import { describeServers } from './backends.js';
import { ownDatabases } from './own-databases.js';

describeServers('a $name of the test’s own', ownDatabases(), ({ create }) => {
  it('has what it had when it is started again after kill -9, after a stop in good order, and after SIGSTOP', async () => {
    const server = await create();
    try {
      const { dataSourceOptions } = await server.backend.create();
      const on = async <T>(sql: string): Promise<T> => {
        const source = await new DataSource(dataSourceOptions).initialize();
        try {
          return await source.query<T>(sql);
        } finally {
          await source.destroy();
        }
      };
      await on('CREATE TABLE kept (id int PRIMARY KEY)');
      await on('INSERT INTO kept VALUES (1)');
      await server.kill();
      await expect(on('SELECT 1')).rejects.toThrow();
      await server.start();
      await on('INSERT INTO kept VALUES (2)');
      await server.stop();
      await server.start();
      server.pause();
      const late = on('SELECT id FROM kept ORDER BY id');
      server.resume();
      expect(await late).toEqual([{ id: 1 }, { id: 2 }]);
    } finally {
      await server.remove();
    }
  });
});
