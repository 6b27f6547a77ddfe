/** What the contract of consumers leaves to the tables of letters. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';

const letter = { consumer: 'orders.view', generation: 1, tenant: '', stream: 'order-1', shard: 3, seq: 7, eventId: 'e7', type: 'order.placed', attempts: 1, retryInMs: 0 };

describe.each(sqlBackends())('SqlDeadLetterStore on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlDeadLetterStore;

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlDeadLetterStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(() => emptyTandem(db));

  it('cuts a long error to what its column holds', async () => {
    await db.units.run((unit) => store.hold(unit, { ...letter, state: 'parked', error: `\0 \u{1F600} ' ${'x'.repeat(5_000)}` }), { kind: 'consumer' });
    const [found] = await store.list();
    expect(found!.error).toHaveLength(1_000);
    expect(found!.error.startsWith(" \u{1F600} ' xxx")).toBe(true);
    await store.discard({ consumer: 'orders.view', stream: 'order-1' }, 'r'.repeat(5_000));
    expect((await store.list())[0]!.error).toHaveLength(1_000);
  });
});
