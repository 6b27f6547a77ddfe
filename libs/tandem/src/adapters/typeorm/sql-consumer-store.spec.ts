/** What the contract of consumers cannot say: generations, and what stands in the rows. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Claim, ClaimRequest, ConsumerRegistration } from '../../events/consumer-store.js';
import { SHARDS } from '../../events/event-log.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { sqlOutside, sqlTransaction } from './sql.js';

const registration = (own: Partial<ConsumerRegistration> = {}): ConsumerRegistration => ({
  name: 'orders.view',
  kind: 'projection',
  types: ['order.placed'],
  version: 1,
  startFrom: 'beginning',
  ...own,
});
const everyShard = Array.from({ length: SHARDS }, (_, shard) => shard);

describe.each(sqlBackends())('SqlConsumerStore on $name', (backend) => {
  let db: TandemDatabase;
  let store: SqlConsumerStore;

  const claim = (own: Partial<ClaimRequest>): Promise<Claim | undefined> =>
    db.units.run((unit) => store.claim(unit, { consumer: 'orders.view', exclusive: false, wait: false, ...own }), { kind: 'consumer', tries: 1 });
  const insertGeneration2 = (): Promise<unknown> =>
    sqlOutside(db.dataSource, (sql) => sql.query(`INSERT INTO ${db.tables.checkpoint} (consumer, generation, shard, seq, event_id) VALUES ('orders.view', 2, 3, 77, NULL)`));

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    store = new SqlConsumerStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());
  beforeEach(async () => {
    await emptyTandem(db);
    await store.register([registration()]);
  });

  it('keeps the highest version of the code that registered', async () => {
    await store.register([registration({ version: 2 })]);
    await store.register([registration()]);
    const rows = await sqlOutside(db.dataSource, (sql) => sql.query<{ version: number }[]>(`SELECT version FROM ${db.tables.consumer}`));
    expect(rows).toEqual([{ version: 2 }]);
  });

  it('claims for the live generation only', async () => {
    await insertGeneration2();
    await sqlOutside(db.dataSource, (sql) => sql.query(`UPDATE ${db.tables.consumer} SET live_generation = 2`));
    expect(await claim({ shards: everyShard })).toMatchObject({ generation: 2, checkpoints: [{ shard: 3, seq: 77 }] });
    const positions = (await store.positions(['orders.view'], everyShard)).get('orders.view')!;
    expect([[...positions], positions.generation]).toEqual([[[3, 77]], 2]);
  });

  // PGlite runs one transaction at a time, so nothing can wait there.
  it.runIf(backend.name !== 'pglite')('takes the generation that went live while it waited', async () => {
    let waiting: Promise<Claim | undefined> | undefined;
    await insertGeneration2();
    await sqlTransaction(db.dataSource, async (sql) => {
      await sql.query(`SELECT shard FROM ${db.tables.checkpoint} WHERE consumer = 'orders.view' AND generation = 1 FOR UPDATE`);
      waiting = claim({ shards: [3], wait: true });
      await sql.query(`UPDATE ${db.tables.consumer} SET live_generation = 2 WHERE name = 'orders.view'`);
    });
    expect(await waiting).toMatchObject({ generation: 2, checkpoints: [{ shard: 3, seq: 77 }] });
  });
});
