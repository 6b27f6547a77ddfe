import { randomUUID } from 'node:crypto';
import { Column, Entity, type MigrationInterface, PrimaryColumn, type QueryRunner, Table } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Consumer } from '../../events/consumer.js';
import { ConsumerRegistry } from '../../events/consumer-registry.js';
import { ConsumerRuntime } from '../../events/consumer-runtime.js';
import { DomainEvent } from '../../events/domain-event.js';
import { EventCapture } from '../../events/event-capture.js';
import type { WakeUpTransport } from '../../events/wake-up-transport.js';
import type { WakeUps } from '../../events/wake-ups.js';
import { Clock } from '../../kernel/clock.js';
import { isTandemError } from '../../kernel/errors.js';
import { poolsOf } from './acquire.js';
import { TypeOrmPositionSnapshot } from './position-snapshot.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';
import { SqlEventLog } from './sql-event-log.js';
import { managerOf } from './sql.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity('user_account')
class User {
  @PrimaryColumn('varchar', { length: 36 })
  id!: string;
}
@Entity('user_view')
class UserView {
  @PrimaryColumn('varchar', { length: 36 })
  id!: string;
  @Column('int', { default: 1 })
  seen!: number;
}
class CreateUserTables1700000000001 implements MigrationInterface {
  name = 'CreateUserTables1700000000001';
  async up(runner: QueryRunner): Promise<void> {
    const id = { name: 'id', type: 'varchar', length: '36', isPrimary: true };
    await runner.createTable(new Table({ name: 'user_account', columns: [id] }));
    await runner.createTable(new Table({ name: 'user_view', columns: [id, { name: 'seen', type: 'int', default: 1 }] }));
  }
  async down(): Promise<void> {}
}

@DomainEvent<UserCreated>('user.created', { version: 1, stream: (e) => ['user', e.id] })
class UserCreated {
  constructor(readonly id: string) {}
}

const userViews = (runBy: Consumer['runBy'], fails: () => boolean = () => false): Consumer => ({
  ...{ name: `users.${runBy}`, kind: 'projection', consumerClass: UserView, events: [UserCreated], version: 1, startFrom: 'beginning' },
  ...{ parallelism: 4, onError: 'halt', runBy, entities: [UserView] },
  async handle(unit, events) {
    if (fails()) throw new Error('the projection is broken');
    await managerOf(unit).insert(
      UserView,
      events.map(({ event }) => ({ id: (event as UserCreated).id })),
    );
  },
});

const cases = sqlBackends().flatMap((backend) => [
  { name: backend.name, backend, poolSize: 12, workerPoolSize: 3 },
  ...(backend.name === 'pglite' ? [] : [{ name: `${backend.name} with one pool of two for all`, backend, poolSize: 2, workerPoolSize: 0 }]),
]);

describe.each(cases)('TypeOrmPositionSnapshot on $name', ({ backend, poolSize, workerPoolSize }) => {
  let db: TandemDatabase;
  let units: TypeOrmUnitOfWork;
  let store: SqlConsumerStore;
  let snapshot: TypeOrmPositionSnapshot;
  let capture: EventCapture;
  let runtime: ConsumerRuntime;

  const createUser = () =>
    units.run(async (unit) => {
      const user = { id: randomUUID() };
      await managerOf(unit).insert(User, user);
      await capture.take([new UserCreated(user.id)], () => undefined);
    });
  const compare = (consumer: Consumer) =>
    snapshot.read([consumer], (unit, of, upTo) => runtime.drainTo(unit, of, upTo), {
      write: (manager) => manager.count(User),
      read: (manager) => manager.count(UserView),
    });
  const total = (heads: ReadonlyMap<number, number>) => [...heads.values()].reduce((sum, head) => sum + head, 0);

  /** Runs `work` while commands, and workers of the consumer, go on. */
  async function underTraffic(consumer: Consumer, work: () => Promise<void>): Promise<void> {
    const over = new AbortController();
    const loop = async (step: () => Promise<unknown>) => {
      while (!over.signal.aborted) await step();
    };
    const traffic = [...Array.from({ length: 4 }, () => loop(createUser)), loop(() => runtime.catchUp(consumer).then(() => new Clock().sleep(10)))];
    try {
      await Promise.race([work(), ...traffic]);
    } finally {
      over.abort();
      await Promise.all(traffic);
    }
  }

  beforeAll(async () => {
    db = await tandemDatabase(backend, { entities: [User, UserView], migrations: [CreateUserTables1700000000001], poolSize });
    poolsOf(db.dataSource).configure({ queryPoolSize: 0, workerPoolSize });
  });
  afterAll(() => db.drop());
  beforeEach(async () => {
    const { event, shard, consumer, checkpoint, deadLetter } = db.tables;
    for (const table of [event, consumer, checkpoint, deadLetter, 'user_account', 'user_view']) await db.dataSource.query(`DELETE FROM ${table}`);
    await db.dataSource.query(`UPDATE ${shard} SET head = 0`);
    units = new TypeOrmUnitOfWork(db.dataSource, new Clock()); // its commit steps are those of one application
    const log = new SqlEventLog(db.dataSource, db.tables);
    store = new SqlConsumerStore(db.dataSource, db.tables);
    capture = new EventCapture(units, log);
    const settings = { ...{ batchSize: 50, batchBytes: 1e6, reconcileEveryMs: 1e6, wakeUpWindowMs: 25 }, consumerAttempts: 1, consumerBackoffMs: 1, drainTimeoutMs: 1_000 };
    const wakeUps = { committed: () => undefined } as unknown as WakeUps;
    const letters = new SqlDeadLetterStore(db.dataSource, db.tables);
    runtime = new ConsumerRuntime(units, log, store, letters, new ConsumerRegistry(), settings, capture, wakeUps, {} as WakeUpTransport, new Clock());
    snapshot = new TypeOrmPositionSnapshot(db.dataSource, db.tables, units, store);
  });

  it.each(['worker', 'command'] as const)('finds both sides equal, at every position, while commands go on and a %s runs the projection', async (runBy) => {
    const consumer = userViews(runBy);
    await runtime.register([consumer]);
    const seen: number[] = [];
    await underTraffic(consumer, async () => {
      while (seen.length < 12 || seen.at(-1) === seen[0]) {
        const { write, read, heads } = await compare(consumer);
        expect({ write, read }).toEqual({ write: total(heads), read: total(heads) });
        seen.push(write);
      }
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  it('compares as often at once as it is asked, although the pool is smaller', async () => {
    const consumer = userViews('worker');
    await runtime.register([consumer]);
    for (let i = 0; i < 5; i++) await createUser();
    const found = await Promise.all(Array.from({ length: poolSize + 3 }, () => compare(consumer)));
    expect(found.every(({ write, read }) => write === 5 && read === 5)).toBe(true);
  });

  it('compares while commands want more connections than there are', async () => {
    const consumer = userViews('worker');
    await runtime.register([consumer]);
    const commands = Array.from({ length: 3 * poolSize }, createUser);
    const found = await compare(consumer);
    await Promise.all(commands);
    expect([found.read, total(found.heads)]).toEqual([found.write, found.write]);
  });

  it('brings a projection forward that nobody runs, exactly to the position, and keeps that', async () => {
    const consumer = userViews('worker');
    await runtime.register([consumer]);
    for (let i = 0; i < 120; i++) await createUser();
    expect(await compare(consumer)).toMatchObject({ write: 120, read: 120 });
    expect(await db.dataSource.manager.count(UserView)).toBe(120);
    expect(await store.status()).toMatchObject([{ consumer: 'users.worker', lag: 0 }]);
  });

  it('shows what is missing on the read side, and what is there too much', async () => {
    const consumer = userViews('worker');
    await runtime.register([consumer]);
    for (let i = 0; i < 3; i++) await createUser();
    await compare(consumer);
    await db.dataSource.query('DELETE FROM user_account');
    expect(await compare(consumer)).toMatchObject({ write: 0, read: 3 });
    await db.dataSource.query('DELETE FROM user_view');
    await createUser();
    expect(await compare(consumer)).toMatchObject({ write: 1, read: 1 });
  });

  it('compares nothing when the projection cannot be brought to the position', async () => {
    const consumer = userViews('worker', () => true);
    await runtime.register([consumer]);
    await createUser();
    await expect(compare(consumer)).rejects.toThrow(expect.toSatisfy((error) => isTandemError(error, 'TANDEM_CONSUMER_HALTED')));
    await createUser(); // nothing is left locked
  });

  it('passes on what a side throws, and leaves nothing locked', async () => {
    const consumer = userViews('worker');
    await runtime.register([consumer]);
    await createUser();
    const failing = (side: 'write' | 'read') =>
      snapshot.read([consumer], (unit, of, upTo) => runtime.drainTo(unit, of, upTo), {
        write: async () => (side === 'write' ? Promise.reject(new Error('write is broken')) : 1),
        read: async () => (side === 'read' ? Promise.reject(new Error('read is broken')) : 1),
      });
    await expect(failing('write')).rejects.toThrow('write is broken');
    await expect(failing('read')).rejects.toThrow('read is broken');
    await createUser();
    expect(await compare(consumer)).toMatchObject({ write: 2, read: 2 });
  });
});
