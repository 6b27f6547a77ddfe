import { describe, expect, it } from 'vitest';
import { bullMqJobs } from '../adapters/bullmq/bullmq-jobs.js';
import { embedded } from '../adapters/embedded/embedded.js';
import { typeOrmStorage } from '../adapters/typeorm/typeorm-storage.js';
import { tandemMigrations } from '../adapters/typeorm/migrations/tandem-migrations.js';
import { DomainEvent } from '../events/domain-event.js';
import { On } from '../events/on.js';
import { OnDelta } from '../read/projection/on-delta.js';
import { Projection, projectionOf } from '../read/projection/projection.js';
import { SyncStrategy } from '../read/projection/sync-strategy.js';
import { CacheResult } from '../read/query-cache/cache-result.js';
import { TandemModule } from '../tandem.module.js';
import { UnitOfWork } from '../write/command/unit-of-work.decorator.js';
import { DurableSaga, durableSagaOf } from '../write/saga/durable-saga.js';

class Decorated {}
class Noted {}
const stream = (): [string, string] => ['spec', 'a'];
const wiring = (sentence: string) => expect.objectContaining({ code: 'TANDEM_WIRING', message: expect.stringContaining(sentence) as string }) as Error;

describe('an option that does not exist', () => {
  const cases: Record<string, [make: () => unknown, sentence: string]> = {
    typeOrmStorage: [() => typeOrmStorage({ tablePrefx: 'a_' } as object), '`tablePrefx` of typeOrmStorage; the nearest is `tablePrefix`'],
    bullMqJobs: [() => bullMqJobs({ connection: {}, prefix: 'a' } as never), '`prefix` of bullMqJobs; the nearest is `queuePrefix`'],
    embedded: [() => embedded({ dataDir: 'memory://', dataSorce: 'a' } as never), '`dataSorce` of embedded; the nearest is `dataSource`'],
    '@Projection': [
      () => Projection('spec.view', { version: 1, paralelism: 2 } as never)(Decorated),
      "`paralelism` of @Projection('spec.view') on Decorated; the nearest is `parallelism`",
    ],
    '@DurableSaga': [() => DurableSaga('spec.saga', { startAt: 'now' } as object)(Decorated), "`startAt` of @DurableSaga('spec.saga') on Decorated; the nearest is `startFrom`"],
    '@DomainEvent': [
      () => DomainEvent('spec.event', { version: 1, stream, steam: 1 } as never)(Decorated),
      "`steam` of @DomainEvent('spec.event') on Decorated; the nearest is `stream`",
    ],
    '@On': [
      () => On(Noted, { whenMising: 'fail' } as object)(Decorated.prototype, 'noted', {} as never),
      '`whenMising` of @On(Noted) on Decorated.noted; the nearest is `whenMissing`',
    ],
    '@OnDelta': [
      () => OnDelta(Noted, { key: () => 'a', keys: 1 } as never)(Decorated.prototype, 'noted', {} as never),
      '`keys` of @OnDelta(Noted) on Decorated.noted; the nearest is `key`',
    ],
    '@CacheResult': [() => CacheResult({ ttl: 5 } as object)(Decorated), '`ttl` of @CacheResult on Decorated; the nearest is `ttlMs`'],
    'SyncStrategy.immediate': [() => SyncStrategy.immediate({ maxWaitMs: 5 } as never), '`maxWaitMs` of SyncStrategy.immediate; it has none'],
    'SyncStrategy.eventual': [() => SyncStrategy.eventual({ maxWaitMs: 5 } as never), '`maxWaitMs` of SyncStrategy.eventual; it has none'],
    tandemMigrations: [() => tandemMigrations({ prefix: 'a_' } as object), '`prefix` of tandemMigrations; the nearest is `tablePrefix`'],
    'TandemModule.forRootAsync': [
      () => TandemModule.forRootAsync({ storage: typeOrmStorage(), jobs: bullMqJobs({ connection: {} }), useFactry: () => ({}) } as never),
      '`useFactry` of TandemModule.forRootAsync; the nearest is `useFactory`',
    ],
    '@UnitOfWork': [() => UnitOfWork({ retries: 2 } as object)(Decorated), '`retries` of @UnitOfWork on Decorated; the nearest is `tries`'],
  };
  for (const [name, [make, sentence]] of Object.entries(cases)) {
    it(`is refused by ${name}, which names the nearest`, () => expect(make).toThrow(wiring(`there is no option ${sentence}`)));
  }

  it('is one that has the name of an inherited member too', () => expect(() => typeOrmStorage({ toString: 1 } as object)).toThrow(wiring('there is no option `toString`')));
});

describe('an option that would say nothing', () => {
  it('is refused: `tables` of a projection that has an entity', () => {
    const both = () => Projection('spec.view', { version: 1, entity: Noted, tables: [Decorated] })(Decorated);
    expect(both).toThrow(
      wiring("@Projection('spec.view') on Decorated: `entity` (Noted) is the only thing that a row projection writes, so `tables` (Decorated) would say nothing"),
    );
  });
});

describe('an option that is undefined', () => {
  it('leaves the default as it is', () => {
    DurableSaga('spec.saga', { startFrom: undefined })(Decorated);
    expect(durableSagaOf(Decorated)).toMatchObject({ startFrom: 'now' });
    Projection('spec.view', { version: 1, sync: undefined })(Decorated);
    expect(projectionOf(Decorated)).toMatchObject({ sync: { kind: 'eventual' } });
  });
});
