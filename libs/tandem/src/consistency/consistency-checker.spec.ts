import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../events/consumer.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import type { ConsumerRuntime } from '../events/consumer-runtime.js';
import type { DeadLetterStore } from '../events/dead-letter-store.js';
import type { EntityManagerOf } from '../events/storage-types.js';
import { Clock } from '../kernel/clock.js';
import { isTandemError, type TandemErrorCode } from '../kernel/errors.js';
import type { Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import type { CacheInvalidation } from '../read/query-cache/cache-invalidation.js';
import { ConsistencyChecker } from './consistency-checker.js';
import { consistencyText } from './consistency-report.js';
import { ConsistencyRule, RowCountRule } from './consistency-rule.js';
import { type AtOnePosition, type BothSides, type DrainTo, PositionSnapshot } from './position-snapshot.js';

class User {}
class UserView {}
class OrderView {}

/** A manager whose tables are counted in a map. */
const counting = (rows: Map<unknown, number>) =>
  ({ countBy: async (entity: unknown, where: { active?: boolean }) => (rows.get(entity) ?? 0) - (where.active ? 1 : 0) }) as unknown as EntityManagerOf;

class MapSnapshot extends PositionSnapshot {
  readonly rows = new Map<unknown, number>();
  asked: readonly Consumer[] = [];
  override async read<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    this.asked = consumers;
    const heads = new Map([
      [0, 4],
      [7, 3],
      [9, 0],
    ]);
    for (const consumer of consumers) await drainTo({} as Unit, consumer, heads);
    return { write: await sides.write(counting(this.rows)), read: await sides.read(counting(this.rows)), heads };
  }
}

class UserCountRule extends RowCountRule {
  constructor() {
    super('users.count', { write: User, read: UserView });
  }
}
class TextRule extends ConsistencyRule {
  readonly name = 'orders.total';
  override readonly projections = ['orders.view'];
  override async write(): Promise<string> {
    return '10.0000';
  }
  override async read(): Promise<string> {
    return '9.5000';
  }
}

const failsWith = (code: TandemErrorCode) => expect.toSatisfy((error) => isTandemError(error, code));

describe('ConsistencyChecker', () => {
  let snapshot: MapSnapshot;
  let checker: ConsistencyChecker;
  let held: { consumer: string }[];
  const units = { current: undefined as unknown };
  const drainTo = vi.fn(async () => undefined);
  const changed = vi.fn();
  const users = { name: 'users.view', kind: 'projection', entities: [UserView], events: [] } as unknown as Consumer;
  const orders = { name: 'orders.view', kind: 'projection', entities: [OrderView], events: [] } as unknown as Consumer;

  beforeEach(() => {
    vi.clearAllMocks();
    drainTo.mockImplementation(async () => undefined);
    units.current = undefined;
    held = [];
    snapshot = new MapSnapshot();
    const registry = new ConsumerRegistry();
    registry.add([users, orders]);
    const letters = { list: async ({ consumer }: { consumer: string }) => held.filter((letter) => letter.consumer === consumer) } as unknown as DeadLetterStore;
    const ports = [{ drainTo } as unknown as ConsumerRuntime, letters, { changed } as unknown as CacheInvalidation, units as unknown as UnitOfWork] as const;
    checker = new ConsistencyChecker(snapshot, registry, ...ports, new Clock());
    checker.add([new UserCountRule()]);
  });

  it('compares at the position that it brought the projections of the rule to', async () => {
    snapshot.rows.set(User, 7).set(UserView, 7);
    const report = await checker.check();
    expect(report).toMatchObject({ consistent: true, rules: [{ name: 'users.count', consistent: true, write: 7, read: 7, difference: 0, position: { events: 7, shards: 2 } }] });
    expect(snapshot.asked).toEqual([users]);
    expect(drainTo).toHaveBeenCalledTimes(1);
    expect(changed).toHaveBeenCalledWith(users);
  });

  it('tells what differs, by how much, and what is held back', async () => {
    snapshot.rows.set(User, 7).set(UserView, 5);
    held = [{ consumer: 'users.view' }, { consumer: 'users.view' }, { consumer: 'orders.view' }];
    checker.add([new TextRule()]);
    const report = await checker.check();
    expect(report).toMatchObject({
      consistent: false,
      rules: [
        { difference: 2, heldStreams: 2 },
        { write: '10.0000', read: '9.5000', consistent: false },
      ],
    });
    expect(report.rules[1]!.difference).toBeUndefined();
    const text = consistencyText(report);
    expect(text).toContain('NOT consistent: 2 rules');
    expect(text).toContain('DRIFT users.count: write 7, read 5 (difference 2), at 7 events; 2 streams are held back, see the dead letters');
    expect(text).toContain('DRIFT orders.total: write 10.0000, read 9.5000, at 7 events; 1 stream is held back');
  });

  it('checks only the rules that it is asked for', async () => {
    checker.add([new TextRule()]);
    expect((await checker.check(['orders.total'])).rules.map(({ name }) => name)).toEqual(['orders.total']);
    await expect(checker.check(['typo'])).rejects.toThrow(failsWith('TANDEM_WIRING'));
  });

  it('reports a rule that cannot be compared as not consistent, and goes on with the others', async () => {
    drainTo.mockImplementationOnce(async () => Promise.reject(new Error('users.view: it is halted')));
    checker.add([new TextRule()]);
    const report = await checker.check();
    expect(report.rules).toMatchObject([
      { consistent: false, problem: 'users.view: it is halted' },
      { name: 'orders.total', write: '10.0000' },
    ]);
    expect(consistencyText(report)).toContain('users.count: not compared: users.view: it is halted');
  });

  it('counts with the conditions of either side', async () => {
    class ActiveRule extends RowCountRule {
      constructor() {
        super('users.active', { write: User, read: UserView, where: { write: { active: true } } });
      }
    }
    checker.add([new ActiveRule()]);
    snapshot.rows.set(User, 7).set(UserView, 6);
    expect(await checker.check(['users.active'])).toMatchObject({ consistent: true, rules: [{ write: 6, read: 6 }] });
  });

  it('refuses two rules of one name, and to run inside a unit of work', async () => {
    expect(() => checker.add([new UserCountRule()])).toThrow(failsWith('TANDEM_WIRING'));
    units.current = {};
    await expect(checker.check()).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
  });
});
