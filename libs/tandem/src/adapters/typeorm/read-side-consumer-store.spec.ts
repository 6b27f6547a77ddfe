import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Claim } from '../../events/consumer-store.js';
import type { EventLog } from '../../events/event-log.js';
import { ReadSideConsumerStore } from './read-side-consumer-store.js';
import { sqlOf, sqlOutside } from './sql.js';

const NAME = 'orders.view';
const ALL = { name: NAME, kind: 'projection', types: ['order.placed'], version: 1, startFrom: 'beginning' } as const;

/** The log is elsewhere: here only its heads are, which a test sets. */
describe.each(sqlBackends())('checkpoints beside another log on $name', (backend) => {
  let database: TandemDatabase;
  let heads: Map<number, number>;
  let whileHeadsAreRead: () => Promise<unknown>;
  let store: ReadSideConsumerStore;
  const moveTo = (seq: number): string => `UPDATE ${database.tables.checkpoint} SET seq = ${seq} WHERE consumer = '${NAME}' AND shard = 3`;

  const claim = (duringHeads: (move: (seq: number) => Promise<unknown>) => Promise<unknown> = () => Promise.resolve()): Promise<Claim | undefined> =>
    database.units.run(
      (unit) => {
        whileHeadsAreRead = () => duringHeads((seq) => sqlOf(unit).query(moveTo(seq)));
        return store.claim(unit, { consumer: NAME, exclusive: false, wait: false });
      },
      { kind: 'consumer' },
    );

  beforeAll(async () => {
    database = await tandemDatabase(backend);
    const log: Pick<EventLog, 'heads'> = {
      heads: async () => {
        const seen = new Map(heads);
        await whileHeadsAreRead();
        return { cutMicros: 1_000, heads: seen };
      },
    };
    store = new ReadSideConsumerStore(database.dataSource, database.tables, log as EventLog);
  });
  const registered = async (at: number): Promise<void> => {
    heads = new Map();
    whileHeadsAreRead = () => Promise.resolve();
    await store.register([ALL]);
    await sqlOutside(database.dataSource, (sql) => sql.query(moveTo(at)));
  };
  afterEach(() => emptyTandem(database));
  afterAll(() => database?.drop());

  it('are claimed where they are behind the heads, which come with the claim', async () => {
    await registered(2);
    heads = new Map([
      [3, 5],
      [9, 1],
    ]);
    const claimed = await claim();
    expect([...claimed!.heads!.heads].sort(([a], [b]) => a - b)).toEqual([...heads]);
    expect([claimed!.heads!.cutMicros, claimed!.wentBack]).toEqual([1_000, undefined]);
    expect(await store.status()).toMatchObject([{ consumer: NAME, lag: 4, laggingShards: [3, 9] }]);
  });

  it('tell of a log that went back when one is beyond its head, and nothing is claimed', async () => {
    await registered(5);
    heads = new Map([
      [3, 4],
      [9, 1],
    ]);
    expect(await claim()).toMatchObject({ checkpoints: [], wentBack: expect.stringContaining('event 5 of shard 3 was handled, and now there are only 4') });
    expect(await store.status()).toMatchObject([{ lag: 2, laggingShards: [3, 9] }]);
  });

  it('that another worker moves while the heads are read are not taken for that', async () => {
    await registered(2);
    heads = new Map([[3, 5]]);
    const claimed = await claim((move) => move(6));
    expect(claimed!.wentBack).toBeUndefined();
    expect(claimed).toMatchObject({ checkpoints: [{ shard: 3, seq: 6 }] });
  });

  it('are at their heads when nothing is to do', async () => {
    await registered(5);
    heads = new Map([[3, 5]]);
    const claimed = await claim();
    expect([claimed!.checkpoints, claimed!.wentBack]).toEqual([[], undefined]);
    expect(await store.status()).toMatchObject([{ lag: 0, laggingShards: [] }]);
  });
});
