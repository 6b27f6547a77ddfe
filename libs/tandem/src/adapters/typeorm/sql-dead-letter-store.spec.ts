import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { NewDeadLetter } from '../../events/dead-letter-store.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';
import { sqlOutside } from './sql.js';

const letter = (own: Partial<NewDeadLetter> = {}): NewDeadLetter => ({
  consumer: 'orders.view',
  generation: 1,
  tenant: '',
  stream: 'order-1',
  shard: 3,
  seq: 7,
  eventId: 'e7',
  type: 'order.placed',
  state: 'retrying',
  attempts: 1,
  error: 'Error: no',
  retryInMs: 0,
  ...own,
});
const told = ({ retryInMs, ...rest }: NewDeadLetter): object => ({ ...rest, due: rest.state === 'retrying' && retryInMs <= 0 });

describe.each(sqlBackends())('SqlDeadLetterStore on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlDeadLetterStore;

  const inBatch = <T>(work: (unit: Unit) => Promise<T>): Promise<T> => db.units.run(work, { kind: 'consumer', tries: 1 });
  const hold = (...letters: NewDeadLetter[]): Promise<void> =>
    inBatch(async (unit) => {
      for (const one of letters) await store.hold(unit, one);
    });

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlDeadLetterStore(db.dataSource, db.tables);
    await new SqlConsumerStore(db.dataSource, db.tables).register([{ name: 'orders.view', kind: 'projection', types: [], version: 1, startFrom: 'beginning' }]);
  });
  afterAll(() => db.drop());
  beforeEach(() => sqlOutside(db.dataSource, (sql) => sql.query(`DELETE FROM ${db.tables.deadLetter}`)));

  it('holds a stream once: a second failure replaces the first', async () => {
    const again = letter({ seq: 8, eventId: 'e8', attempts: 2, state: 'parked', error: 'Error: still no', type: 'order.moved' });
    await hold(letter(), letter({ stream: 'order-2' }));
    await hold(again);
    expect(await inBatch((unit) => store.held(unit, 'orders.view', 1, [3]))).toEqual([letter({ stream: 'order-2' }), again].map(told));
  });

  it('holds only for that consumer, generation, tenant and shard', async () => {
    const others = [letter({ consumer: 'other' }), letter({ generation: 2 }), letter({ tenant: 'acme' }), letter({ stream: 'order-9', shard: 4 })];
    await hold(letter(), ...others);
    expect(await inBatch((unit) => store.held(unit, 'orders.view', 1, [3]))).toEqual([letter(), others[2]!].map(told));
    expect(await inBatch((unit) => store.held(unit, 'orders.view', 1, []))).toEqual([]);
    await inBatch((unit) => store.release(unit, letter()));
    expect(await store.list()).toEqual(expect.arrayContaining(others.map(told)));
    expect(await store.list()).toHaveLength(4);
  });

  it('forgets a letter when its batch rolls back', async () => {
    const failing = inBatch(async (unit) => {
      await store.hold(unit, letter());
      throw new Error('later');
    });
    await expect(failing).rejects.toThrow('later');
    expect(await store.list()).toEqual([]);
  });

  it('calls due what is retrying and whose time has come by the clock of the database', async () => {
    await hold(letter(), letter({ stream: 'later', retryInMs: 60_000.7 }), letter({ stream: 'parked', state: 'parked' }));
    expect((await store.list({ due: true })).map(({ stream }) => stream)).toEqual(['order-1']);
    expect((await store.list()).map(({ stream, due }) => [stream, due])).toEqual([
      ['order-1', true],
      ['later', false],
      ['parked', false],
    ]);
    await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.deadLetter} SET next_at = created_at WHERE stream = 'later'`));
    expect((await store.list({ due: true })).map(({ stream }) => stream)).toEqual(['order-1', 'later']);
    await hold(letter({ consumer: 'other', state: 'parked' }));
    expect(await store.dueConsumers(['orders.view', 'other', 'third'])).toEqual(['orders.view']);
    expect(await store.dueConsumers(['other'])).toEqual([]);
    expect(await store.dueConsumers([])).toEqual([]);
  });

  it('lists by consumer, newest last, at most so many', async () => {
    for (const stream of ['b', 'c', 'a']) await hold(letter({ stream }));
    await hold(letter({ consumer: 'other', stream: 'z' }), letter({ stream: 'b', attempts: 2 }));
    expect((await store.list({ consumer: 'orders.view' })).map(({ stream }) => stream)).toEqual(['b', 'c', 'a']);
    expect((await store.list({ limit: 2 })).map(({ stream }) => stream)).toEqual(['b', 'c']);
  });

  it('cuts a long error and takes one with any characters', async () => {
    await hold(letter({ error: `\0 \u{1F600} ' ${'x'.repeat(5_000)}` }));
    const [found] = await store.list();
    expect(found!.error).toHaveLength(1_000);
    expect(found!.error.startsWith(" \u{1F600} ' xxx")).toBe(true);
  });

  it('makes letters due at once, parked ones too, with attempts counted anew', async () => {
    await hold(letter({ state: 'parked', attempts: 5 }), letter({ stream: 'order-2', retryInMs: 60_000, attempts: 3 }), letter({ consumer: 'other', state: 'parked' }));
    expect(await store.retryNow({ consumer: 'orders.view', stream: 'order-1' })).toBe(1);
    expect((await store.list({ due: true })).map(({ stream, attempts }) => [stream, attempts])).toEqual([['order-1', 0]]);
    expect(await store.retryNow({ consumer: 'orders.view' })).toBe(2);
    expect(await store.list({ consumer: 'orders.view', due: true })).toHaveLength(2);
    expect(await store.retryNow({ consumer: 'orders.view', tenant: 'nobody' })).toBe(0);
    expect((await store.list({ consumer: 'other' }))[0]).toMatchObject({ state: 'parked', due: false });
  });

  it('marks letters of a stream as discarded, with the reason, and due', async () => {
    await hold(letter({ state: 'parked', attempts: 5 }), letter({ stream: 'order-2', state: 'parked' }), letter({ tenant: 'acme', state: 'parked' }));
    expect(await store.discard({ consumer: 'orders.view', tenant: '', stream: 'order-1' }, 'a test order')).toBe(1);
    expect(await store.list({ due: true })).toEqual([{ ...told(letter({ state: 'parked', attempts: 5 })), state: 'discarded', error: 'discarded: a test order', due: true }]);
    expect(await store.dueConsumers(['orders.view'])).toEqual(['orders.view']);
  });

  // PGlite runs one transaction at a time, so nothing can wait for a batch there.
  if (backend.name !== 'pglite') {
    it('waits with a retry for the batch that has the shard, so neither undoes the other', async () => {
      await hold(letter({ state: 'parked', attempts: 5 }));
      const consumers = new SqlConsumerStore(db.dataSource, db.tables);
      let retrying: Promise<number> | undefined;
      let done = false;
      await inBatch(async (unit) => {
        await consumers.claim(unit, { consumer: 'orders.view', exclusive: false, wait: true, shards: [3] });
        retrying = db.units.outside(() => store.retryNow({ consumer: 'orders.view' })).finally(() => (done = true));
        for (let i = 0; i < 20; i++) await db.units.outside(() => store.list());
        expect(done).toBe(false);
        await store.hold(unit, letter({ state: 'parked', attempts: 6 }));
      });
      expect(await retrying).toBe(1);
      expect((await store.list())[0]).toMatchObject({ state: 'retrying', attempts: 0, due: true });
    });
  }
});
