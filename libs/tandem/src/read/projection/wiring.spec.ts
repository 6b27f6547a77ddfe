import { describe, expect, it } from 'vitest';
import { DomainEvent } from '../../events/domain-event.js';
import { On } from '../../events/on.js';
import { InMemoryRowStore } from '../../testing/in-memory-row-store.js';
import { Delta } from './delta.js';
import { OnDelta } from './on-delta.js';
import { Projection } from './projection.js';
import { SyncStrategy } from './sync-strategy.js';
import { projectionProblems, type SyncStrategies } from './wiring.js';

@DomainEvent('wiring.placed', { version: 1, stream: (e) => ['order', e.id] })
class Placed {
  constructor(readonly id: string) {}
}
class View {
  id!: string;
  n!: number;
}
class Daily {
  country!: string;
  day!: string;
  n!: number;
}
class NoEntity {
  id!: string;
}

const rows = new InMemoryRowStore([
  { entity: View, keys: ['id'], defaults: { n: 0 } },
  { entity: Daily, keys: ['country', 'day'], defaults: { n: 0 } },
]);
const problems = (...projections: (new () => object)[]) => projectionProblems(projections, rows);

@Projection('wiring.good', { entity: View, version: 1, parallelism: 8 })
class Good {
  @On(Placed)
  placed(view: View, _e: Placed) {
    view.n++;
  }
}
@Projection('wiring.good-delta', { entity: Daily, version: 1, parallelism: 8 })
class GoodDelta {
  @OnDelta(Placed, { key: () => ({ country: 'FR', day: '2024-01-01' }) })
  placed(row: Delta<Daily>, _e: Placed) {
    row.add('n', 1);
  }
}

describe('wiring of projections', () => {
  it('is silent when all is well', () => {
    expect(problems(Good, GoodDelta)).toEqual([]);
  });

  it('names both projections of one entity', () => {
    @Projection('wiring.rival', { entity: View, version: 1 })
    class Rival extends Good {}
    expect(problems(Good, Rival)).toEqual(['View is the entity of Good and Rival: an entity belongs to one projection']);
  });

  it('finds a projection without methods and a class without @Projection', () => {
    @Projection('wiring.idle', { entity: View, version: 1 })
    class Idle {}
    expect(problems(Idle)).toEqual(["@Projection('wiring.idle') on Idle has no method with @On or @OnDelta"]);
    expect(problems(NoEntity)).toEqual(['NoEntity has no @Projection']);
  });

  it('finds a composite key that no handler gives', () => {
    @Projection('wiring.keyless', { entity: Daily, version: 1 })
    class Keyless {
      @On(Placed)
      placed(_row: Daily, _e: Placed) {}
    }
    expect(problems(Keyless)).toEqual(['Keyless.placed has no `key`, but the key of Daily is (country, day): a stream has one id only']);
  });

  it('finds rows that several streams change in parallel', () => {
    @Projection('wiring.parallel', { entity: View, version: 1, parallelism: 2 })
    class Parallel {
      @On(Placed, { key: (e) => e.id })
      placed(_view: View, _e: Placed) {}
    }
    @Projection('wiring.mixed', { entity: Daily, version: 1, parallelism: 2 })
    class Mixed extends GoodDelta {
      @On(Placed, { key: () => ({ country: 'FR', day: '2024-01-01' }), delete: true })
      removed(_row: Daily) {}
    }
    expect(problems(Parallel)).toEqual([expect.stringContaining("@Projection('wiring.parallel') on Parallel has parallelism 2, but several streams change its rows")]);
    expect(problems(Mixed)).toHaveLength(1);
  });

  it('finds a method that takes another row than the entity', () => {
    @Projection('wiring.other-row', { entity: View, version: 1 })
    class OtherRow {
      @On(Placed)
      placed(_row: Daily, _e: Placed) {}
      @OnDelta(Placed, { key: (e) => e.id })
      adds(_row: Delta<View>) {}
      @On(Placed)
      forgotten(_e: Placed) {}
    }
    expect(problems(OtherRow)).toEqual(['OtherRow.placed takes Daily, but it is given View', 'OtherRow.forgotten takes Placed, but it is given View']);
  });

  it('finds row options without an entity, and an entity that the store does not have', () => {
    @Projection('wiring.free', { version: 1 })
    class Free {
      @On(Placed, { key: (e) => e.id })
      placed(_row: View, _e: Placed) {}
      @OnDelta(Placed, { key: (e) => e.id })
      adds(_row: Delta<View>) {}
    }
    @Projection('wiring.unknown', { entity: NoEntity, version: 1 })
    class Unknown {
      @On(Placed)
      placed(_row: NoEntity, _e: Placed) {}
    }
    expect(problems(Free)).toEqual([expect.stringContaining('row options in @On'), expect.stringContaining('@OnDelta')]);
    expect(problems(Unknown)).toEqual([expect.stringContaining("@Projection('wiring.unknown') on Unknown: NoEntity is no entity")]);
  });

  it('finds strategies for what is no projection, naming those that there are, and one that cannot be immediate', () => {
    @Projection('wiring.known', { version: 1 })
    class Known {
      @On(Placed)
      placed(_e: Placed) {}
    }
    const given = (syncStrategies: SyncStrategies, readDataSource?: string) => projectionProblems([Known], rows, { syncStrategies, readDataSource });
    expect(given({ 'wiring.knwon': SyncStrategy.batched(5) })).toEqual([
      '`syncStrategies` of TandemModule names "wiring.knwon", which is no projection of this application; there are wiring.known',
    ]);
    expect(given({ 'wiring.known': SyncStrategy.batched(5) }, 'reads')).toEqual([]);
    expect(given({ 'wiring.known': SyncStrategy.immediate() }, 'reads')).toEqual([expect.stringContaining('would not commit with the command')]);
  });

  it.each([
    ['Upper', { version: 1 }],
    ['ok', { version: 0 }],
    ['ok', { version: 1, parallelism: 1.5 }],
  ])('refuses @Projection(%j, %j) at once', (name, options) => {
    expect(() => Projection(name, options)(View)).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }) as Error);
  });
});
