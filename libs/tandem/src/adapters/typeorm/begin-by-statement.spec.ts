/** On MariaDB commands have sessions without autocommit: their first statement begins the transaction. */
import mysql2 from 'mysql2';
import { DataSource, Entity, PrimaryColumn, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeServers, sqlServers, type TestDatabase } from '../../../../../test/support/backends.js';
import { Clock } from '../../kernel/clock.js';
import { poolsOf } from './acquire.js';
import { sqlOf } from './sql.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity({ engine: 'InnoDB' })
class Kept {
  @PrimaryColumn('int') id!: number;
}
/** A table without transactions. */
@Entity({ engine: 'MyISAM' })
class Noted {
  @PrimaryColumn('int') id!: number;
}

/** mysql2, with every statement written down. */
function listening(sent: string[]): object {
  const createPool = (config: mysql2.PoolOptions) => {
    const pool = mysql2.createPool(config);
    pool.on('connection', (connection) => {
      const query = connection.query.bind(connection) as (options: string | { sql: string }, ...rest: unknown[]) => unknown;
      Object.assign(connection, {
        query: (options: string | { sql: string }, ...rest: unknown[]) => {
          sent.push(typeof options === 'string' ? options : options.sql);
          return query(options, ...rest);
        },
      });
    });
    return pool;
  };
  return Object.create(mysql2, { createPool: { value: createPool } }) as object;
}

describeServers(
  'a unit on $name',
  sqlServers().filter(({ name }) => name === 'mariadb'),
  (backend) => {
    let database: TestDatabase;
    let ds: DataSource;
    let units: TypeOrmUnitOfWork;
    const sent: string[] = [];
    const outside = () => ds.getRepository(Kept).find({ order: { id: 'ASC' } });
    const ids = async () => (await outside()).map(({ id }) => id);

    beforeAll(async () => {
      database = await backend.create();
      ds = await tandemDataSource({ ...database.dataSourceOptions, entities: [Kept, Noted], synchronize: true, driver: listening(sent) } as DataSourceOptions);
      poolsOf(ds).configure({ commandPoolSize: 2 });
      await ds.initialize();
      units = new TypeOrmUnitOfWork(ds, new Clock());
      await ds.query('CREATE PROCEDURE goes_on() BEGIN INSERT INTO kept VALUES (99); COMMIT; INSERT INTO kept VALUES (98); END');
      await ds.query('CREATE PROCEDURE inserts(id INT) BEGIN INSERT INTO kept VALUES (id); END');
      await ds.query('CREATE PROCEDURE commits() BEGIN INSERT INTO kept VALUES (99); COMMIT; END');
      await units.run(() => ds.query('SELECT 1'));
    });
    beforeEach(async () => {
      await ds.query('DELETE FROM kept');
      await ds.query('DELETE FROM noted');
      sent.length = 0;
    });
    afterAll(async () => {
      await ds.destroy();
      await database.drop();
    });

    it('sends no START TRANSACTION before a statement that changes rows', async () => {
      await units.run(() => ds.query('INSERT INTO kept VALUES (1)'));
      expect(sent).toEqual(['INSERT INTO kept VALUES (1)', 'COMMIT']);
      expect(await ids()).toEqual([1]);
    });

    it('sends nothing at all where nothing is to be done', async () => {
      await units.run(async () => undefined);
      expect(sent).toEqual([]);
    });

    it.each(['SELECT 1', 'SET @x = 1', 'SAVEPOINT one', 'WITH one AS (SELECT 1) SELECT * FROM one'])('begins explicitly before %s', async (text) => {
      await units.run(() => ds.query(text)).catch(() => undefined);
      expect(sent.slice(0, 2)).toEqual(['START TRANSACTION', text]);
    });

    it('rolls back what its first statement did', async () => {
      await expect(
        units.run(async () => {
          await ds.query('INSERT INTO kept VALUES (1)');
          throw new Error('no');
        }),
      ).rejects.toThrow('no');
      expect(await ids()).toEqual([]);
    });

    it('goes on after a first statement that failed, and rolls back all the same', async () => {
      await ds.query('INSERT INTO kept VALUES (1)');
      const work = (end: () => void) =>
        units.run(async () => {
          await ds.query('INSERT INTO kept VALUES (1)').catch(() => undefined);
          await ds.query('SET @x = 1');
          await ds.query('INSERT INTO kept VALUES (2)');
          end();
        });
      await expect(
        work(() => {
          throw new Error('no');
        }),
      ).rejects.toThrow('no');
      expect(await ids()).toEqual([1]);
      await work(() => undefined);
      expect(await ids()).toEqual([1, 2]);
    });

    it('begins explicitly behind a first statement that changed only a table without transactions', async () => {
      await expect(
        units.run(async () => {
          await ds.query('INSERT INTO noted VALUES (1)');
          await ds.query('INSERT INTO kept VALUES (1)');
          throw new Error('no');
        }),
      ).rejects.toThrow('no');
      expect(sent).toEqual(['INSERT INTO noted VALUES (1)', 'START TRANSACTION', 'INSERT INTO kept VALUES (1)', 'ROLLBACK']);
      expect([await ids(), (await ds.getRepository(Noted).find()).length]).toEqual([[], 1]);
    });

    it.each(['CALL commits()', 'CALL goes_on()', '/* one */ call goes_on()', "EXECUTE IMMEDIATE 'COMMIT'"])('sees that %s commits half of it', async (text) => {
      const work = units.run(async () => {
        await ds.query('INSERT INTO kept VALUES (1)');
        await ds.query(text);
        await ds.query('INSERT INTO kept VALUES (2)');
      });
      await expect(work).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED', cause: { code: 'TANDEM_DDL_REFUSED' } });
      expect(await ids()).not.toContain(2);
    });

    it('looks whether the transaction has outlived a procedure', async () => {
      await units.run(() => ds.query('CALL inserts(5)'));
      expect(sent).toEqual(['START TRANSACTION', 'SAVEPOINT tandem_probe', 'CALL inserts(5)', 'RELEASE SAVEPOINT tandem_probe', 'COMMIT']);
    });

    it('lets a procedure do what it likes that commits nothing', async () => {
      await units.run(() => ds.query('CALL inserts(5)'));
      expect(await ids()).toEqual([5]);
      await expect(units.run(() => ds.query('CALL inserts(5)'))).rejects.toMatchObject({ errno: 1062 });
    });

    it('a transaction() of TypeORM as the first thing is a savepoint in it', async () => {
      await units.run(async () => {
        await ds.transaction((manager) => manager.insert(Kept, { id: 1 }));
        await ds
          .transaction(async (manager) => {
            await manager.insert(Kept, { id: 2 });
            throw new Error('only this');
          })
          .catch(() => undefined);
      });
      expect(await ids()).toEqual([1]);
      expect(sent.filter((text) => /^(START|BEGIN)/.test(text))).toEqual(['START TRANSACTION']);
    });

    it('leaves what runs outside of units in autocommit', async () => {
      await units.run((unit) => sqlOf(unit).query('INSERT INTO kept VALUES (1)'));
      await ds.getRepository(Kept).insert({ id: 2 });
      const other = await new DataSource(database.dataSourceOptions).initialize();
      expect(await other.query('SELECT id FROM kept ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
      await other.destroy();
    });
  },
);
