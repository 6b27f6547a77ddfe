import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection as MysqlConnection } from 'mysql2';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { EventKey, ExpectedVersion, PendingEvent, StoredEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import { append as appendEvents } from './append.js';
import { SqlEventLog } from './sql-event-log.js';
import { managerOf, sqlOf, sqlOutside, type Sql } from './sql.js';

const pending = (stream: string, expected: ExpectedVersion = 'any'): PendingEvent => ({
  eventId: newId(),
  tenant: '',
  stream,
  type: 'test.happened',
  schemaVersion: 1,
  payload: '{"n":1}',
  metadata: '{}',
  expected,
});

describe.each(sqlBackends())('SqlEventLog on $name', (backend) => {
  let db: TandemDatabase;
  let log: SqlEventLog;

  const append = (...events: PendingEvent[]): Promise<readonly StoredEvent[]> => db.units.run((unit) => log.append(unit, events));
  const readAll = async (): Promise<readonly EventKey[]> => {
    const { heads } = await log.heads();
    const ranges = [...heads].map(([shard, upTo]) => ({ shard, after: 0, upTo }));
    return db.units.run((unit) => log.readKeys(unit, ranges), { kind: 'consumer' });
  };

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    log = new SqlEventLog(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(() => emptyTandem(db));

  it('calls a duplicate version a conflict where the snapshot is too old to show it', async () => {
    await append(pending('old-2', 'none'));
    const running = db.units.run((unit) => {
      const sql = sqlOf(unit);
      const old: Sql = {
        dialect: sql.dialect,
        query: async <R>(text: string, params?: readonly unknown[]) => {
          const rows = await sql.query<{ i: string; n: string }[]>(text, params);
          return (text.includes('MAX(version)') ? rows.map(({ i, n }) => ({ i, n: Number(i) < 0 ? n : 0 })) : rows) as R;
        },
      };
      return appendEvents(old, { events: [pending('old-1', 'none'), pending('old-2', 'none')], outcomes: [] }, db);
    });
    await expect(running).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT', data: { subject: 'old-2' } });
  });

  it('waits for a version that shows up later than the next one', async () => {
    await append(pending('late-1'), pending('late-1'), pending('late-1'));
    const set = (from: number, to: number): Promise<unknown> =>
      sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.event} SET version = ? WHERE stream = 'late-1' AND version = ?`, [to, from]));
    await set(2, -2);
    const readers = [log.readStream('', 'late-1'), log.readStream('', 'late-1', { backwards: true, limit: 2 })];
    await sleep(10);
    await set(-2, 2);
    expect((await Promise.all(readers)).map((events) => events.map(({ version }) => version))).toEqual([
      [1, 2, 3],
      [3, 2],
    ]);
  });

  it('does not hand out a stream with a hole', async () => {
    await append(pending('hole-1'), pending('hole-1'), pending('hole-1'));
    await sqlOutside(db.dataSource, (sql) => sql.query(`DELETE FROM ${db.tables.event} WHERE stream = ? AND version = 2`, ['hole-1']));
    for (const read of [{}, { backwards: true }, { backwards: true, fromVersion: 2 }]) {
      await expect(log.readStream('', 'hole-1', read)).rejects.toMatchObject({ message: expect.stringContaining('but no version 2') as string });
    }
  });

  if (backend.dialect === 'mysql') {
    it('refuses to append when the transaction had ended unnoticed, and leaves no hole that readers would wait at', async () => {
      await append(pending('doom-1'));
      const doomed = db.units.run(
        async (unit) => {
          await sqlOf(unit).query('SELECT 1');
          const connection = (await managerOf(unit).queryRunner!.connect()) as MysqlConnection;
          await new Promise<void>((resolve, reject) => connection.query('COMMIT', (error) => (error ? reject(error) : resolve())));
          return log[backend.name === 'mysql' ? 'append' : 'appendLast'](unit, [pending('doom-1'), pending('doom-1')]);
        },
        { tries: 1 },
      );
      await expect(doomed).rejects.toMatchObject({ code: expect.stringMatching(/^TANDEM_(UNIT_OF_WORK_DOOMED|COMMIT_FAILED)$/) });
      await append(pending('doom-1'));
      // Numbers that were taken in autocommit stay taken; the block takes none.
      const filled = backend.name === 'mysql' ? ['tandem.void', 'tandem.void'] : [];
      await vi.waitFor(async () => {
        expect((await readAll()).map(({ seq, type }) => [seq, type])).toEqual(['test.happened', ...filled, 'test.happened'].map((type, i) => [i + 1, type]));
      });
    });

    it.runIf(backend.name === 'mysql')('leaves no hole either where the pool has one connection', async () => {
      const small = await tandemDatabase(backend, { poolSize: 1 });
      try {
        const own = new SqlEventLog(small.dataSource, small.tables);
        const doomed = small.units.run(
          async (unit) => {
            await sqlOf(unit).query('SELECT 1');
            const connection = (await managerOf(unit).queryRunner!.connect()) as MysqlConnection;
            await new Promise<void>((resolve, reject) => connection.query('COMMIT', (error) => (error ? reject(error) : resolve())));
            return own.append(unit, [pending('doom-1')]);
          },
          { tries: 1 },
        );
        await expect(doomed).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
        const seqs = () => sqlOutside(small.dataSource, (sql) => sql.query<{ seq: unknown; type: string }[]>(`SELECT seq, type FROM ${small.tables.event}`));
        await vi.waitFor(async () => expect((await seqs()).map(({ seq, type }) => [Number(seq), type])).toEqual([[1, 'tandem.void']]));
      } finally {
        await small.drop();
      }
    });
  }

  it.runIf(backend.name === 'mariadb')('commits with the append where it is told that nothing follows', async () => {
    await db.units.run(async (unit) => {
      await log.appendLast(unit, [pending('last-1', 'none')]);
      await expect(sqlOf(unit).query('SELECT 1')).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
    });
    expect(await readAll()).toHaveLength(1);
  });

  it('undoes what its unit has written when an append that was to commit meets another version', async () => {
    await append(pending('last-1'), pending('last-1'));
    const refused = (expected: ExpectedVersion) =>
      db.units.run(async (unit) => {
        await sqlOf(unit).query(`UPDATE ${db.tables.shard} SET job_head = job_head + 1`);
        await log.appendLast(unit, [pending('other-1'), pending('last-1', expected)]);
      });
    for (const expected of ['none', 1, 3] as const) {
      const error = await refused(expected).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT', data: { subject: 'last-1', expected } });
    }
    const rows = await sqlOutside(db.dataSource, (sql) => sql.query<{ n: string }[]>(`SELECT SUM(job_head) AS n FROM ${db.tables.shard}`));
    expect(Number(rows[0]!.n)).toBe(0);
  });
});
