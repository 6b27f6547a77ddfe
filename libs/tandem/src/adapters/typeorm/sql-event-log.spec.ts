import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection as MysqlConnection } from 'mysql2';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import { shardOf, type EventKey, type ExpectedVersion, type PendingEvent, type StoredEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { append as appendEvents } from './append.js';
import { poolsOf } from './acquire.js';
import { SqlEventLog } from './sql-event-log.js';
import { managerOf, sqlOf, sqlOutside, sqlTransaction, type Sql } from './sql.js';

const pending = (stream: string, expected: ExpectedVersion = 'any', own: Partial<PendingEvent> = {}): PendingEvent => ({
  eventId: newId(),
  tenant: '',
  stream,
  type: 'test.happened',
  schemaVersion: 1,
  payload: '{"n":1}',
  metadata: '{}',
  expected,
  ...own,
});

/** MariaDB appends in one block; told that it is MySQL, it goes statement by statement. */
const ways = sqlBackends().flatMap((backend) => [
  { backend, name: backend.name, asMysql: false },
  ...(backend.dialect === 'mysql' ? [{ backend, name: `${backend.name} as MySQL`, asMysql: true }] : []),
]);

describe.each(ways)('SqlEventLog on $name', ({ backend, asMysql }) => {
  let db: TandemDatabase;
  let log: SqlEventLog;

  const append = (...events: PendingEvent[]): Promise<readonly StoredEvent[]> => db.units.run((unit) => log.append(unit, events));
  const reading = <T>(work: (unit: Unit) => Promise<T>): Promise<T> => db.units.run(work, { kind: 'consumer' });
  const readAll = async (): Promise<readonly EventKey[]> => {
    const { heads } = await log.heads();
    return reading((unit) =>
      log.readKeys(
        unit,
        [...heads].map(([shard, upTo]) => ({ shard, after: 0, upTo })),
      ),
    );
  };

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    log = new SqlEventLog(db.dataSource, db.tables);
    if (asMysql) {
      Object.assign(log, { isMariaDb: false });
      poolsOf(db.dataSource).configure({ commandPoolSize: 0 });
    }
  });
  afterAll(() => db.drop());
  beforeEach(async () => {
    await sqlTransaction(db.dataSource, async (sql) => {
      await sql.query(`DELETE FROM ${db.tables.event}`);
      await sql.query(`UPDATE ${db.tables.shard} SET head = 0`);
    });
  });

  it('numbers shards and streams from 1 and reads back what was written, byte for byte', async () => {
    const payload = '{"big":9007199254740993,"text":"ü \u{1F600} \\u0000 \'quoted\' \\"x\\" ?","a":1.10}';
    const [first, second] = await append(pending('order-1', 'none', { payload, tenant: 'Acme' }), pending('order-1', 'none', { tenant: 'Acme' }));
    const shard = shardOf('Acme', 'order-1');
    expect(first).toMatchObject({ shard, seq: 1, version: 1, payload, payloadBytes: Buffer.byteLength(payload) });
    expect(second).toMatchObject({ shard, seq: 2, version: 2 });
    const keys = await readAll();
    expect(await reading((unit) => log.readEvents(unit, [...keys].reverse()))).toEqual([second, first]);
    expect(await log.readStream('Acme', 'order-1')).toEqual([first, second]);
    expect(await log.readStream('Acme', 'order-1', { fromVersion: 2 })).toEqual([second]);
    expect(await log.readStream('acme', 'order-1')).toEqual([]);
  });

  it('takes the time from the database, in microseconds, never after the cut of a later read', async () => {
    const before = await log.heads();
    const stored: StoredEvent[] = [];
    for (let i = 0; i < 5; i++) stored.push(...(await append(pending('clock-1'))));
    const { cutMicros } = await log.heads();
    const times = [before.cutMicros, ...stored.map(({ recordedAtMicros }) => recordedAtMicros), cutMicros];
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(new Set(times).size).toBe(times.length);
    expect(Math.abs(cutMicros / 1_000 - Date.now())).toBeLessThan(60_000);
  });

  it('moves the clock on inside a transaction', async () => {
    const [a, b] = await reading(async (unit) => {
      const first = await log.heads(unit);
      await sleep(5);
      return [first, await log.heads(unit)];
    });
    expect(b.cutMicros).toBeGreaterThan(a.cutMicros);
  });

  it('reports only shards with events, and only those asked for', async () => {
    expect((await log.heads()).heads.size).toBe(0);
    await append(pending('a-1'), pending('b-2'), pending('b-2'));
    const [a, b] = [shardOf('', 'a-1'), shardOf('', 'b-2')];
    expect(a).not.toBe(b);
    expect((await log.heads()).heads).toEqual(
      new Map([
        [a, 1],
        [b, 2],
      ]),
    );
    expect((await log.heads(undefined, [b])).heads).toEqual(new Map([[b, 2]]));
    expect((await log.heads(undefined, [])).heads.size).toBe(0);
  });

  describe('expected versions', () => {
    const conflict = { code: 'TANDEM_CONCURRENCY_CONFLICT' };

    it('continues at any version, at the one named and from none', async () => {
      await append(pending('s-1', 'none'));
      await append(pending('s-1', 1), pending('s-1', 2));
      const last = await append(pending('s-1', 'any'), pending('s-2', 0), pending('s-1', 'any'));
      expect(last.map(({ stream, version }) => [stream, version])).toEqual([
        ['s-1', 4],
        ['s-2', 1],
        ['s-1', 5],
      ]);
    });

    it.each([
      ['none, but the stream exists', 'none', 'conflict-1 exists already'],
      ['a version that is behind', 0, 'conflict-1 is at version 1, you expected 0'],
      ['a version that the stream has not reached', 5, 'conflict-1 is at version 1, you expected 5'],
    ] as const)('refuses %s, and leaves no trace', async (_, expected, message) => {
      await append(pending('conflict-1', 'none'));
      await expect(append(pending('other-1'), pending('conflict-1', expected))).rejects.toMatchObject({ ...conflict, message: expect.stringContaining(message) as string });
      const [next] = await append(pending('conflict-1', 1));
      expect(next).toMatchObject({ seq: 2, version: 2 });
      expect(await log.readStream('', 'other-1')).toEqual([]);
    });

    it('refuses a second change of one unit that was decided on an older version', async () => {
      await append(pending('s-9', 'none'), pending('s-9', 'none'));
      await expect(append(pending('s-9', 2), pending('s-9', 1))).rejects.toMatchObject(conflict);
    });

    it('lets exactly one of many that expect the same version through', async () => {
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => append(pending('race-1', 'none'))));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(conflict);
      expect(await log.readStream('', 'race-1')).toHaveLength(1);
    });

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
        return appendEvents(old, [pending('old-1', 'none'), pending('old-2', 'none')], db);
      });
      await expect(running).rejects.toMatchObject({ ...conflict, data: { subject: 'old-2' } });
    });
  });

  it('appends and reads more than fits one statement', async () => {
    const payload = JSON.stringify({ text: 'x'.repeat(200_000) });
    const many = Array.from({ length: 1_201 }, (_, i) => pending(`many-${i}`));
    const heavy = Array.from({ length: 60 }, () => pending('heavy-1', 'any', { payload }));
    await append(...many, ...heavy);
    const keys = await readAll();
    expect(keys).toHaveLength(1_261);
    const events = await reading((unit) => log.readEvents(unit, keys));
    expect(events.map(({ eventId }) => eventId)).toEqual(keys.map(({ eventId }) => eventId));
    expect(keys.filter(({ stream }) => stream === 'heavy-1').every(({ payloadBytes }) => payloadBytes === payload.length)).toBe(true);
    expect((await log.readStream('', 'heavy-1')).map(({ version }) => version)).toEqual(heavy.map((_, i) => i + 1));
  });

  it('reads a stream of several pages, inside a unit with what that unit appended', async () => {
    await append(...Array.from({ length: 1_100 }, () => pending('long-1')));
    const versions = await db.units.run(async (unit) => {
      await log.append(unit, [pending('long-1')]);
      return (await log.readStream('', 'long-1')).map(({ version }) => version);
    });
    expect(versions).toEqual(Array.from({ length: 1_101 }, (_, i) => i + 1));
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

  it('reads the keys of a range, and brings small texts of the types asked for along', async () => {
    await append(...Array.from({ length: 10 }, () => pending('k-1')), pending('k-2'));
    const [shard, other] = [shardOf('', 'k-1'), shardOf('', 'k-2')];
    await append(pending('k-1', 'any', { payload: JSON.stringify({ text: 'ü'.repeat(60) }) }), pending('k-1', 'any', { type: 'test.other' }));
    const ranges = [
      { shard, after: 7, upTo: 12 },
      { shard: other, after: 0, upTo: 1 },
    ];
    const plain = await reading((unit) => log.readKeys(unit, ranges));
    expect(plain.filter((key) => key.stream === 'k-1').map(({ seq, payload }) => [seq, payload])).toEqual([8, 9, 10, 11, 12].map((seq) => [seq, undefined]));
    expect(plain.filter((key) => key.stream === 'k-2')).toHaveLength(1);
    const keys = await reading((unit) => log.readKeys(unit, ranges, { types: ['test.happened', 'test.none'], maxBytes: 100 }));
    expect(keys.filter((key) => key.stream === 'k-1').map(({ seq, payload }) => [seq, payload !== undefined])).toEqual([
      [8, true],
      [9, true],
      [10, true],
      [11, false],
      [12, false],
    ]);
    const events = await reading((unit) => log.readEvents(unit, keys));
    expect(events).toEqual(await reading((unit) => log.readEvents(unit, plain)));
    expect(events.map(({ payload }) => payload.length)).toEqual(plain.map(({ payloadBytes, seq, stream }) => (stream === 'k-1' && seq === 11 ? payloadBytes - 60 : payloadBytes)));
  });

  it('reads the keys of one stream between two numbers of its shard', async () => {
    await append(pending('one-1'), pending('one-1'), pending('one-2'), pending('one-1'), pending('one-1'), pending('one-1'));
    const [, second, third, fourth] = await log.readStream('', 'one-1');
    const of = { tenant: '', stream: 'one-1', from: { shard: second!.shard, seq: second!.seq }, upTo: fourth!.seq };
    const keys = await reading((unit) => log.readStreamKeys(unit, of));
    expect(keys.map(({ eventId, version }) => [eventId, version])).toEqual([second, third, fourth].map((event) => [event!.eventId, event!.version]));
    expect(await reading((unit) => log.readStreamKeys(unit, { ...of, stream: 'one-3' }))).toEqual([]);
  });

  it('numbers without holes under many writers, and a reader that follows the heads skips nothing', async () => {
    const seen = new Map<number, number[]>();
    const positions = new Map<number, number>();
    let writing = true;
    const follow = async (): Promise<void> => {
      const { heads } = await log.heads();
      const ranges = [...heads].map(([shard, upTo]) => ({ shard, after: positions.get(shard) ?? 0, upTo })).filter(({ after, upTo }) => upTo > after);
      const keys = await reading((unit) => log.readKeys(unit, ranges));
      for (const { shard, seq } of keys) {
        if (seq !== (positions.get(shard) ?? 0) + 1) continue;
        positions.set(shard, seq);
        seen.set(shard, [...(seen.get(shard) ?? []), seq]);
      }
    };
    const reader = (async () => {
      while (writing) await follow();
      await follow();
    })();
    let committed = 0;
    const write = async (writer: number): Promise<void> => {
      for (let i = 0; i < 12; i++) {
        const abort = i % 6 === 5;
        const events = [pending(`common-${i % 3}`), pending(`own-${writer}`), pending(`common-${(i + writer) % 5}`)];
        const outcome = db.units.run(async (unit) => {
          await log.append(unit, events);
          await sleep(Math.random() * 8);
          if (abort) throw new Error('changed my mind');
        });
        if (abort) await expect(outcome).rejects.toThrow('changed my mind');
        else await outcome.then(() => (committed += events.length));
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)));
    writing = false;
    await reader;

    const keys = await readAll();
    expect(keys).toHaveLength(committed);
    const { heads } = await log.heads();
    for (const [shard, head] of heads) {
      const own = keys.filter((key) => key.shard === shard);
      expect(own.map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, i) => i + 1));
      expect(seen.get(shard)).toEqual(own.map(({ seq }) => seq));
      const times = own.map(({ recordedAtMicros }) => recordedAtMicros);
      expect(times).toEqual([...times].sort((a, b) => a - b));
    }
    const streams = new Map<string, number>();
    for (const { stream, version } of keys) {
      expect(version).toBe((streams.get(stream) ?? 0) + 1);
      streams.set(stream, version);
    }
  }, 240_000);

  if (backend.dialect === 'mysql') {
    it('refuses to append when the transaction had ended unnoticed, and leaves no hole that readers would wait at', async () => {
      await append(pending('doom-1'));
      const doomed = db.units.run(
        async (unit) => {
          await sqlOf(unit).query('SELECT 1');
          const connection = (await managerOf(unit).queryRunner!.connect()) as MysqlConnection;
          await new Promise<void>((resolve, reject) => connection.query('COMMIT', (error) => (error ? reject(error) : resolve())));
          return log[asMysql ? 'append' : 'appendLast'](unit, [pending('doom-1'), pending('doom-1')]);
        },
        { tries: 1 },
      );
      await expect(doomed).rejects.toMatchObject({ code: expect.stringMatching(/^TANDEM_(UNIT_OF_WORK_DOOMED|COMMIT_FAILED)$/) });
      await append(pending('doom-1'));
      // Numbers that were taken in autocommit stay taken; the block takes none.
      const filled = asMysql ? ['tandem.void', 'tandem.void'] : [];
      await vi.waitFor(async () => {
        expect((await readAll()).map(({ seq, type }) => [seq, type])).toEqual(['test.happened', ...filled, 'test.happened'].map((type, i) => [i + 1, type]));
      });
    });

    it.runIf(asMysql)('leaves no hole either where the pool has one connection', async () => {
      const small = await tandemDatabase(backend, { poolSize: 1 });
      try {
        const own = new SqlEventLog(small.dataSource, small.tables);
        Object.assign(own, { isMariaDb: false });
        poolsOf(small.dataSource).configure({ commandPoolSize: 0 });
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

  it('commits with the append where it is told that nothing follows', async () => {
    const committed = await db.units.run(async (unit) => {
      const events = await log.appendLast(unit, [pending('last-1', 'none'), pending('last-1', 1), pending('last-2')]);
      if (backend.name === 'mariadb' && !asMysql) await expect(sqlOf(unit).query('SELECT 1')).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
      return events;
    });
    const keys = await readAll();
    expect(keys.map(({ stream, version }) => [stream, version]).sort()).toEqual([
      ['last-1', 1],
      ['last-1', 2],
      ['last-2', 1],
    ]);
    const byId = new Map(keys.map((key) => [key.eventId, key]));
    for (const { eventId, tenant, stream, type, shard, seq } of committed) expect(byId.get(eventId)).toMatchObject({ tenant, stream, type, shard, seq });
  });

  it('writes nothing when an append that was to commit meets another version', async () => {
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
    expect((await readAll()).map(({ stream, version }) => [stream, version])).toEqual([
      ['last-1', 1],
      ['last-1', 2],
    ]);
    const rows = await sqlOutside(db.dataSource, (sql) => sql.query<{ n: string }[]>(`SELECT SUM(job_head) AS n FROM ${db.tables.shard}`));
    expect(Number(rows[0]!.n)).toBe(0);
  });

  it('leaves no hole when appends that commit run at once with others that fail', async () => {
    const write = async (writer: number): Promise<number> => {
      let committed = 0;
      for (let i = 0; i < 15; i++) {
        const events = [pending(`common-${i % 3}`), pending(`own-${writer}`, i % 5 === 4 ? 'none' : 'any'), pending(`common-${(i + writer) % 5}`)];
        const outcome = db.units.run((unit) => log.appendLast(unit, events));
        if (i % 5 === 4) await expect(outcome).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT' });
        else committed += (await outcome).length;
      }
      return committed;
    };
    const counts = await Promise.all(Array.from({ length: 12 }, (_, writer) => write(writer)));
    const keys = await readAll();
    expect(keys).toHaveLength(counts.reduce((sum, count) => sum + count, 0));
    const { heads } = await log.heads();
    for (const [shard, head] of heads) expect(keys.filter((key) => key.shard === shard).map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, i) => i + 1));
    expect(new Set(keys.map(({ stream, version }) => `${stream}/${version}`)).size).toBe(keys.length);
  }, 240_000);
});
