import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { shopDatabase, type ShopDatabase } from '../../../../../test/support/shop-database.js';
import { ListUsers, ListUsersHandler, type UserListOptions, type UserPage } from './list-users.js';
import { searchable } from './search-text.js';
import { UserView } from './user-view.js';

const noon = Date.parse('2026-01-31T12:00:00.000Z');
/** Pairs made at the same moment, ids against the order of time. */
const views = Array.from({ length: 25 }, (_, index) => {
  const user = {
    id: `user-${String(99 - index)}`,
    name: index === 7 ? 'Élodie 50%' : `Name ${index}`,
    email: index === 8 ? 'under_score@example.com' : `mail${index}@example.com`,
  };
  return { ...user, status: 'active' as const, createdAt: new Date(noon + Math.floor(index / 2)), searchText: searchable(user) };
});
const expected = views.toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1)).map(({ id }) => id);

describe.each(sqlBackends())('ListUsers on $name', (backend) => {
  let database: ShopDatabase;
  let list: (options?: UserListOptions) => Promise<UserPage>;

  beforeAll(async () => {
    database = await shopDatabase(backend);
    const repository = database.source.getRepository(UserView);
    await repository.insert(views);
    list = (options) => new ListUsersHandler(repository).execute(new ListUsers(options));
  });
  afterAll(() => database.close());

  it.each([1, 2, 3, 7, 24, 25, 100])('walks along every user once in pages of %i, in the order of their creation', async (limit) => {
    const seen: string[] = [];
    for (let cursor: string | undefined; ;) {
      const { items, nextCursor } = await list({ limit, cursor });
      expect(items.length).toBeLessThanOrEqual(limit);
      seen.push(...items.map(({ id }) => id));
      if (nextCursor === null) break;
      cursor = nextCursor;
    }
    expect(seen).toEqual(expected);
  });

  it('takes 20 at a time unless told', async () => {
    expect((await list()).items).toHaveLength(20);
  });

  it.each([
    ['NAME 11', ['Name 11']],
    ['mail24@', ['Name 24']],
    ['éLODIE', ['Élodie 50%']],
    ['50%', ['Élodie 50%']],
    ['r_s', ['Name 8']],
    ['nobody', []],
    ["' OR 1=1 --", []],
    ['!', []],
  ])('finds %j in names and addresses', async (search, names) => {
    expect((await list({ search })).items.map(({ name }) => name)).toEqual(names);
  });

  it('goes on within a search', async () => {
    const first = await list({ search: 'name 1', limit: 6 });
    const second = await list({ search: 'name 1', limit: 6, cursor: first.nextCursor! });
    expect([...first.items, ...second.items].map(({ name }) => name).toSorted()).toEqual(['Name 1', ...Array.from({ length: 10 }, (_, index) => `Name ${10 + index}`)]);
    expect(second.nextCursor).toBeNull();
  });

  it('refuses what a database cannot compare', async () => {
    await expect(list({ search: 'a\u0000b' })).rejects.toMatchObject({ code: 'SHOP_INVALID', field: 'search' });
    const far = Buffer.from(JSON.stringify([-8_640_000_000_000_000, 'a'])).toString('base64url');
    await expect(list({ cursor: far })).rejects.toMatchObject({ code: 'SHOP_CURSOR_INVALID' });
  });

  it.each([0, 101, 1.5, Number.NaN])('refuses a limit of %d', async (limit) => {
    await expect(list({ limit })).rejects.toMatchObject({ code: 'SHOP_INVALID' });
  });
});
