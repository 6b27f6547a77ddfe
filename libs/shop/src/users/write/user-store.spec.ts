import { EventPublisher, type EventBus } from '@nestjs/cqrs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { shopDatabase, type ShopDatabase } from '../../../../../test/support/shop-database.js';
import { UserCreated, UserEmailChanged, UserRenamed } from '../user-events.js';
import { UpdateUser, UpdateUserHandler } from './update-user.js';
import { UserStore } from './user-store.js';
import { User } from './user.js';

const ann = (): User => User.create({ id: 'ann', name: 'Ann', email: 'ann@example.com' });
const bob = (): User => User.create({ id: 'bob', name: 'Bob', email: 'bob@example.com' });

describe.each(sqlBackends())('UserStore on $name', (backend) => {
  let database: ShopDatabase;
  let store: UserStore;
  const published: object[] = [];
  const publisher = new EventPublisher({ publishAll: (events: object[]) => void published.push(...events) } as unknown as EventBus);
  /** As a command has it: a change needs a transaction. */
  const inUnit = <T>(work: (store: UserStore) => Promise<T>): Promise<T> =>
    database.source.transaction('READ COMMITTED', (unit) => work(new UserStore(unit.getRepository(User), publisher)));
  const update = (...given: ConstructorParameters<typeof UpdateUser>) => inUnit((users) => new UpdateUserHandler(users).execute(new UpdateUser(...given)));
  const load = (id: string) => inUnit((users) => users.load(id));

  beforeAll(async () => {
    database = await shopDatabase(backend);
    store = new UserStore(database.source.getRepository(User), publisher);
  });
  beforeEach(async () => {
    await database.source.getRepository(User).deleteAll();
    published.length = 0;
  });
  afterAll(() => database.close());

  it('adds a user once, though the creation is repeated', async () => {
    await store.add(ann());
    await store.add(ann());
    expect(published).toEqual([new UserCreated('ann', 'Ann', 'ann@example.com')]);
    expect(await load('ann')).toMatchObject({ name: 'Ann', status: 'active', version: 1 });
  });

  it('tells an id that is taken from an e-mail that is taken', async () => {
    await store.add(ann());
    await expect(store.add(User.create({ id: 'ann', name: 'Eve', email: 'eve@example.com' }))).rejects.toMatchObject({ code: 'SHOP_USER_EXISTS' });
    await expect(store.add(User.create({ id: 'eve', name: 'Eve', email: 'ANN@example.com' }))).rejects.toMatchObject({ code: 'SHOP_EMAIL_TAKEN' });
    expect(published).toHaveLength(1);
  });

  it('gives an e-mail to one of many that ask at once', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, (_, index) => store.add(User.create({ id: `user-${index}`, name: 'Ann', email: 'ann@example.com' }))));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => (outcome.reason as { code: string }).code)).toEqual(Array(5).fill('SHOP_EMAIL_TAKEN'));
  });

  it('refuses to change an e-mail to one that is taken, and leaves the user as it was', async () => {
    await store.add(ann());
    await store.add(bob());
    await expect(update('bob', { name: 'Robert', email: 'Ann@Example.com' })).rejects.toMatchObject({ code: 'SHOP_EMAIL_TAKEN' });
    expect(await load('bob')).toMatchObject({ name: 'Bob', email: 'bob@example.com', version: 1 });
  });

  it('changes name and e-mail at once, as one version with two events', async () => {
    await store.add(ann());
    published.length = 0;
    await update('ann', { name: 'Ann Baker', email: 'ann@baker.example' });
    expect(published).toEqual([new UserRenamed('ann', 'Ann Baker'), new UserEmailChanged('ann', 'ann@baker.example', 'ann@example.com')]);
    expect(await load('ann')).toMatchObject({ name: 'Ann Baker', emailKey: 'ann@baker.example', version: 2 });
  });

  it('writes nothing when nothing changed', async () => {
    await store.add(ann());
    await update('ann', { name: 'Ann' });
    expect(await load('ann')).toMatchObject({ version: 1 });
  });

  it('lets the first of two changes of one version win', async () => {
    await store.add(ann());
    await inUnit(async (users) => {
      const [first, second] = [await users.load('ann'), await users.load('ann')];
      first.rename('First');
      second.rename('Second');
      await users.save(first);
      await expect(users.save(second)).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT' });
      first.rename('First again');
      await users.save(first);
    });
    expect(await load('ann')).toMatchObject({ name: 'First again', version: 3 });
  });

  it('lets changes that come at once happen one after the other', async () => {
    await store.add(ann());
    await Promise.all(Array.from({ length: 8 }, (_, n) => update('ann', { name: `Ann ${n}` })));
    expect(await load('ann')).toMatchObject({ version: 9 });
    expect(published).toHaveLength(9);
  });

  it('says that a user is unknown', async () => {
    await expect(load('nobody')).rejects.toMatchObject({ code: 'SHOP_USER_NOT_FOUND' });
  });
});
