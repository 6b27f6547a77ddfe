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

  beforeAll(async () => {
    database = await shopDatabase(backend);
    const bus = { publishAll: (events: object[]) => void published.push(...events) } as unknown as EventBus;
    store = new UserStore(database.source.getRepository(User), new EventPublisher(bus));
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
    expect(await store.load('ann')).toMatchObject({ name: 'Ann', status: 'active', version: 1 });
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
    const update = new UpdateUserHandler(store).execute(new UpdateUser('bob', { name: 'Robert', email: 'Ann@Example.com' }));
    await expect(update).rejects.toMatchObject({ code: 'SHOP_EMAIL_TAKEN' });
    expect(await store.load('bob')).toMatchObject({ name: 'Bob', email: 'bob@example.com', version: 1 });
  });

  it('changes name and e-mail at once, as one version with two events', async () => {
    await store.add(ann());
    published.length = 0;
    await new UpdateUserHandler(store).execute(new UpdateUser('ann', { name: 'Ann Baker', email: 'ann@baker.example' }));
    expect(published).toEqual([new UserRenamed('ann', 'Ann Baker'), new UserEmailChanged('ann', 'ann@baker.example', 'ann@example.com')]);
    expect(await store.load('ann')).toMatchObject({ name: 'Ann Baker', emailKey: 'ann@baker.example', version: 2 });
  });

  it('writes nothing when nothing changed', async () => {
    await store.add(ann());
    await new UpdateUserHandler(store).execute(new UpdateUser('ann', { name: 'Ann' }));
    expect(await store.load('ann')).toMatchObject({ version: 1 });
  });

  it('lets the first of two changes of one version win', async () => {
    await store.add(ann());
    const [first, second] = [await store.load('ann'), await store.load('ann')];
    first.rename('First');
    second.rename('Second');
    await store.save(first);
    await expect(store.save(second)).rejects.toMatchObject({ code: 'TANDEM_CONCURRENCY_CONFLICT' });
    first.rename('First again');
    await store.save(first);
    expect(await store.load('ann')).toMatchObject({ name: 'First again', version: 3 });
  });

  it('says that a user is unknown', async () => {
    await expect(store.load('nobody')).rejects.toMatchObject({ code: 'SHOP_USER_NOT_FOUND' });
  });
});
