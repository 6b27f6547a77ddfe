import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Claim, ClaimRequest, ConsumerRegistration } from '../../events/consumer-store.js';
import { SHARDS, shardOf, type PendingEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlEventLog } from './sql-event-log.js';
import { sqlOutside, sqlTransaction } from './sql.js';

const pending = (stream: string): PendingEvent => ({
  eventId: newId(),
  tenant: '',
  stream,
  type: 'test.happened',
  schemaVersion: 1,
  payload: '{}',
  metadata: '{}',
  expected: 'any',
});
const registration = (own: Partial<ConsumerRegistration> = {}): ConsumerRegistration => ({
  name: 'orders.view',
  kind: 'projection',
  types: ['order.placed'],
  version: 1,
  startFrom: 'beginning',
  ...own,
});
const asks = (own: Partial<ClaimRequest> = {}): ClaimRequest => ({ consumer: 'orders.view', exclusive: false, wait: false, ...own });
const shardsOf = (claim: Claim | undefined): number[] => claim?.checkpoints.map(({ shard }) => shard) ?? [];
const everyShard = Array.from({ length: SHARDS }, (_, shard) => shard);

/** Streams in shards of their own, by rising shard. */
const spread = Array.from({ length: 100 }, (_, i) => `s-${i}`)
  .filter((stream, i, all) => all.findIndex((other) => shardOf('', other) === shardOf('', stream)) === i)
  .sort((a, b) => shardOf('', a) - shardOf('', b));

describe.each(sqlBackends())('SqlConsumerStore on $name', (backend) => {
  let db: TandemDatabase;
  let log: SqlEventLog;
  let store: SqlConsumerStore;

  const append = (...streams: string[]): Promise<unknown> => db.units.run((unit) => log.append(unit, streams.map(pending)));
  const inBatch = <T>(work: (unit: Unit) => Promise<T>): Promise<T> => db.units.run(work, { kind: 'consumer', tries: 1 });
  const claim = (own?: Partial<ClaimRequest>): Promise<Claim | undefined> => inBatch((unit) => store.claim(unit, asks(own)));
  const positions = async (): Promise<Map<number, number>> => new Map((await store.positions(['orders.view'], everyShard)).get('orders.view'));

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    log = new SqlEventLog(db.dataSource, db.tables);
    store = new SqlConsumerStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(async () => {
    await sqlTransaction(db.dataSource, async (sql) => {
      for (const table of [db.tables.event, db.tables.checkpoint, db.tables.consumer]) await sql.query(`DELETE FROM ${table}`);
      await sql.query(`UPDATE ${db.tables.shard} SET head = 0`);
    });
  });

  describe('register', () => {
    it('gives a new consumer a checkpoint per shard at the beginning', async () => {
      await append('s-1', 's-2');
      await store.register([registration()]);
      expect(await positions()).toEqual(new Map(everyShard.map((shard) => [shard, 0])));
      expect(await store.status()).toEqual([
        {
          consumer: 'orders.view',
          kind: 'projection',
          state: 'running',
          reason: null,
          generation: 1,
          lag: 2,
          laggingShards: [shardOf('', 's-1'), shardOf('', 's-2')].sort((a, b) => a - b),
        },
      ]);
    });

    it('starts from now at the heads, with the id of the event there', async () => {
      await append('s-1', 's-1');
      await store.register([registration({ startFrom: 'now' })]);
      const shard = shardOf('', 's-1');
      expect((await positions()).get(shard)).toBe(2);
      const events = await log.readStream('', 's-1');
      const claimed = await claim({ shards: [shard] });
      expect(claimed!.checkpoints).toEqual([{ shard, seq: 2, eventId: events[1]!.eventId }]);
      expect((await store.status())[0]).toMatchObject({ lag: 0, laggingShards: [] });
    });

    it('unites the types of all versions of the code, keeps the highest version and the checkpoints', async () => {
      await store.register([registration()]);
      const claimed = await inBatch(async (unit) => {
        const found = (await store.claim(unit, asks({ shards: [7] })))!;
        await store.advance(unit, found, [{ shard: 7, seq: 5, eventId: 'e5' }]);
        return found;
      });
      expect(claimed.types).toEqual(['order.placed']);
      await store.register([registration({ types: ['order.cancelled'], version: 2, startFrom: 'now' })]);
      await store.register([registration()]);
      const again = await claim({ shards: [7] });
      expect(again).toMatchObject({ types: ['order.cancelled', 'order.placed'], checkpoints: [{ shard: 7, seq: 5, eventId: 'e5' }] });
      const rows = await sqlOutside(db.dataSource, (sql) => sql.query<{ version: number }[]>(`SELECT version FROM ${db.tables.consumer}`));
      expect(rows).toEqual([{ version: 2 }]);
    });

    it('refuses a name that is of another kind', async () => {
      await store.register([registration()]);
      await expect(store.register([registration({ kind: 'saga' })])).rejects.toMatchObject({
        code: 'TANDEM_WIRING',
        message: expect.stringContaining('registered as a projection') as string,
      });
    });

    it('is safe when processes start at once, while others write', async () => {
      const all = Array.from({ length: 6 }, (_, i) => registration({ name: `c-${i}`, startFrom: i % 2 ? 'now' : 'beginning' }));
      const start = (own: number): Promise<void> => store.register(all.map((one) => ({ ...one, types: [`type-${own}`] })).sort(() => Math.random() - 0.5));
      await Promise.all([start(1), start(2), start(3), ...Array.from({ length: 20 }, (_, i) => append(`w-${i % 7}`))]);
      const status = await store.status();
      expect(status.map(({ consumer }) => consumer)).toEqual(all.map(({ name }) => name));
      for (const { name } of all) {
        const found = (await claim({ consumer: name, shards: everyShard }))!;
        expect(found.types).toEqual(['type-1', 'type-2', 'type-3']);
        expect(found.checkpoints).toHaveLength(SHARDS);
      }
      await append('w-0');
      for (const { consumer } of status) expect((await store.status()).find((one) => one.consumer === consumer)!.lag).toBeGreaterThan(0);
    });
  });

  describe('claim', () => {
    beforeEach(() => store.register([registration()]));

    it('locks only what lags, and nothing when nothing does', async () => {
      expect(await claim()).toMatchObject({ checkpoints: [] });
      await append('s-1', 's-1', 's-2');
      const found = await claim();
      // How far the batch may read: the heads and the clock of before the locks.
      expect([...found!.heads!.heads].toSorted(([a], [b]) => a - b)).toEqual(
        [
          [shardOf('', 's-1'), 2],
          [shardOf('', 's-2'), 1],
        ].toSorted(([a], [b]) => a! - b!),
      );
      expect(found!.heads!.cutMicros).toBeGreaterThan(0);
      expect(found).toMatchObject({ consumer: 'orders.view', generation: 1, state: 'running', types: ['order.placed'] });
      expect(shardsOf(found)).toEqual([shardOf('', 's-1'), shardOf('', 's-2')].sort((a, b) => a - b));
      expect(found!.checkpoints.every(({ seq, eventId }) => seq === 0 && eventId === null)).toBe(true);
    });

    it('locks the shards that were asked for, lagging or not, in order', async () => {
      expect(shardsOf(await claim({ shards: [9, 3, 40] }))).toEqual([3, 9, 40]);
      expect(shardsOf(await claim({ wait: true }))).toEqual(everyShard);
      expect(await claim({ shards: [] })).toBeUndefined();
    });

    it('finds nothing for a consumer that is not registered', async () => {
      expect(await claim({ consumer: 'nobody' })).toBeUndefined();
      expect(await claim({ consumer: 'nobody', exclusive: true, wait: true })).toBeUndefined();
    });

    it('keeps to the limit and reaches every lagging shard in the end', async () => {
      await append(...spread);
      for (let turns = 0; turns < 1_000; turns++) {
        const size = await inBatch(async (unit) => {
          const found = await store.claim(unit, asks({ limit: 5 }));
          if (!found) return 0;
          await store.advance(
            unit,
            found,
            found.checkpoints.map(({ shard }) => ({ shard, seq: 1, eventId: `e-${shard}` })),
          );
          return found.checkpoints.length;
        });
        expect(size).toBeLessThanOrEqual(5);
        if (size === 0) break;
      }
      expect((await store.status())[0]!.lag).toBe(0);
      expect([...(await positions()).values()].filter((seq) => seq === 1)).toHaveLength(spread.length);
    });

    it('takes no more shards than hold the events that were asked for', async () => {
      await append(...spread, ...spread.map((stream) => stream));
      const behind = spread.length * 2;
      expect(shardsOf(await claim({ events: 5 }))).toHaveLength(3);
      expect(shardsOf(await claim({ events: 1 }))).toHaveLength(1);
      expect(shardsOf(await claim({ events: 5, limit: 2 }))).toHaveLength(2);
      expect(shardsOf(await claim({ events: behind }))).toHaveLength(spread.length);
    });

    it('undoes what a batch advanced when it rolls back', async () => {
      await append('s-1');
      const failing = inBatch(async (unit) => {
        const found = (await store.claim(unit, asks()))!;
        await store.advance(
          unit,
          found,
          found.checkpoints.map((at) => ({ ...at, seq: 1 })),
        );
        throw new Error('handler failed');
      });
      await expect(failing).rejects.toThrow('handler failed');
      expect((await store.status())[0]!.lag).toBe(1);
    });

    it('tells the state that was set, with its reason', async () => {
      await store.setState('orders.view', 'halted', 'r'.repeat(5_000));
      expect(await claim({ shards: [1] })).toMatchObject({ state: 'halted' });
      await inBatch((unit) => store.setState('orders.view', 'running', null, unit));
      expect((await store.status())[0]!.state).toBe('running');
      await expect(store.setState('nobody', 'paused', null)).rejects.toMatchObject({ code: 'TANDEM_WIRING' });
    });

    it('claims for the live generation only', async () => {
      await sqlOutside(db.dataSource, (sql) =>
        sql.query(`INSERT INTO ${db.tables.checkpoint} (consumer, generation, shard, seq, event_id) VALUES ('orders.view', 2, 3, 77, NULL)`),
      );
      await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.consumer} SET live_generation = 2`));
      expect(await claim({ shards: everyShard })).toMatchObject({ generation: 2, checkpoints: [{ shard: 3, seq: 77 }] });
      expect(await positions()).toEqual(new Map([[3, 77]]));
    });

    // PGlite runs one transaction at a time, so two claims cannot meet there.
    if (backend.name !== 'pglite') {
      it('skips what another batch holds', async () => {
        await append(...spread);
        await inBatch(async (unit) => {
          const first = shardsOf(await store.claim(unit, asks({ limit: 10 })));
          expect(first).toHaveLength(10);
          const second = await db.units.outside(() => claim());
          expect(shardsOf(second)).toEqual(spread.map((stream) => shardOf('', stream)).filter((shard) => !first.includes(shard)));
          expect(await db.units.outside(() => claim({ shards: first }))).toBeUndefined();
        });
        expect(shardsOf(await claim())).toHaveLength(spread.length);
      });

      it('goes on to shards that are free when the first ones it looks at are held', async () => {
        await append(...spread);
        await inBatch(async (unit) => {
          const shards = spread.slice(0, -2).map((stream) => shardOf('', stream));
          expect(shardsOf(await store.claim(unit, asks({ shards })))).toEqual(shards);
          for (let i = 0; i < 10; i++) expect(shardsOf(await db.units.outside(() => claim({ limit: 2 }))).length).toBeGreaterThan(0);
        });
      });

      it('leaves no lagging shard out of an exclusive claim, though somebody holds its checkpoint for a moment', async () => {
        await append('s-1', 's-2');
        let claiming: Promise<Claim | undefined> | undefined;
        let done = false;
        await inBatch(async (unit) => {
          await store.claim(unit, asks({ shards: [shardOf('', 's-1')], wait: true }));
          claiming = db.units.outside(() => claim({ exclusive: true })).finally(() => (done = true));
          for (let i = 0; i < 20; i++) await db.units.outside(() => store.status());
          expect(done).toBe(false);
        });
        expect(shardsOf(await claiming)).toEqual([shardOf('', 's-1'), shardOf('', 's-2')].sort((a, b) => a - b));
      });

      it('lets one exclusive claim through at a time', async () => {
        await append(...spread);
        await inBatch(async (unit) => {
          expect(await store.claim(unit, asks({ exclusive: true, limit: 1 }))).toBeDefined();
          expect(await db.units.outside(() => claim({ exclusive: true }))).toBeUndefined();
        });
        expect(await claim({ exclusive: true })).toBeDefined();
      });

      it('waits where told, and then sees what the other batch wrote', async () => {
        await append('s-1');
        const shard = shardOf('', 's-1');
        let waiting: Promise<Claim | undefined> | undefined;
        await inBatch(async (unit) => {
          const found = (await store.claim(unit, asks()))!;
          waiting = db.units.outside(() => claim({ shards: [shard], wait: true }));
          await store.advance(unit, found, [{ shard, seq: 1, eventId: 'e1' }]);
        });
        expect((await waiting)!.checkpoints).toEqual([{ shard, seq: 1, eventId: 'e1' }]);
      });

      it('takes the generation that went live while it waited', async () => {
        let waiting: Promise<Claim | undefined> | undefined;
        await sqlOutside(db.dataSource, (sql) =>
          sql.query(`INSERT INTO ${db.tables.checkpoint} (consumer, generation, shard, seq, event_id) VALUES ('orders.view', 2, 3, 77, NULL)`),
        );
        await sqlTransaction(db.dataSource, async (sql) => {
          await sql.query(`SELECT shard FROM ${db.tables.checkpoint} WHERE consumer = 'orders.view' AND generation = 1 FOR UPDATE`);
          waiting = claim({ shards: [3], wait: true });
          await sql.query(`UPDATE ${db.tables.consumer} SET live_generation = 2 WHERE name = 'orders.view'`);
        });
        expect(await waiting).toMatchObject({ generation: 2, checkpoints: [{ shard: 3, seq: 77 }] });
      });

      it('lets running batches end before a new event type counts as registered', async () => {
        await append('s-1');
        let registered = false;
        let registering: Promise<void> | undefined;
        await inBatch(async (unit) => {
          expect((await store.claim(unit, asks()))!.types).toEqual(['order.placed']);
          registering = db.units.outside(() => store.register([registration({ types: ['order.moved'] })])).then(() => void (registered = true));
          for (let i = 0; i < 20; i++) await db.units.outside(() => store.status());
          expect(registered).toBe(false);
        });
        await registering;
        expect((await claim())!.types).toEqual(['order.moved', 'order.placed']);
      });
    }
  });

  it('reads positions of several consumers, and in a snapshot as they were', async () => {
    await store.register([registration(), registration({ name: 'other' })]);
    await append('s-1');
    const shard = shardOf('', 's-1');
    await inBatch(async (unit) => store.advance(unit, (await store.claim(unit, asks()))!, [{ shard, seq: 1, eventId: 'e' }]));
    const found = await db.units.run((unit) => store.positions(['orders.view', 'other', 'nobody'], [shard], unit), { kind: 'snapshot' });
    expect([...found].map(([name, at]) => [name, at.get(shard)])).toEqual([
      ['orders.view', 1],
      ['other', 0],
      ['nobody', undefined],
    ]);
    expect((await store.positions([], [1])).size).toBe(0);
  });
});
