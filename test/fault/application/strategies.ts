/** The same two projections under every sync strategy. A new strategy is one line here. */
import type { Type } from '@nestjs/common';
import { type Delta, type EventMetadata, On, OnDelta, Projection, SyncStrategy } from 'nest-tandem';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { nextDigest, totalOf } from '../folds.js';
import { Moved } from './accounts.js';

const STRATEGIES: Readonly<Record<string, SyncStrategy>> = {
  immediate: SyncStrategy.immediate(),
  eventual: SyncStrategy.eventual(),
  batched: SyncStrategy.batched(100, { maxWaitMs: 1_000 }),
  scheduled: SyncStrategy.scheduled({ everyMs: 2_000 }),
};

interface Follower {
  readonly entities: readonly Type[];
  readonly providers: readonly Type[];
}

function followerOf(name: string, sync: SyncStrategy): Follower {
  @Entity(`fault_trail_${name}`)
  class Trail {
    @PrimaryColumn('varchar', { length: 20 }) id!: string;
    @Column('int', { default: 0 }) moves!: number;
    @Column('bigint', { default: 0 }) balance!: string;
    @Column('int', { default: 0 }) version!: number;
    /** Over the events in the order in which they came. */
    @Column('varchar', { length: 40, default: '' }) digest!: string;
  }

  @Entity(`fault_total_${name}`)
  class Total {
    @PrimaryColumn('varchar', { length: 20 }) id!: string;
    @Column('int', { default: 0 }) moves!: number;
    @Column('bigint', { default: 0 }) balance!: string;
  }

  @Projection(`fault.trail-${name}`, { entity: Trail, version: 1, sync })
  class TrailProjection {
    @On(Moved)
    moved(trail: Trail, { amount, command, index }: Moved, { version }: EventMetadata) {
      trail.moves += 1;
      trail.balance = String(BigInt(trail.balance) + BigInt(amount));
      trail.version = version;
      trail.digest = nextDigest(trail.digest, { command, index });
    }
  }

  @Projection(`fault.total-${name}`, { entity: Total, version: 1, sync, parallelism: 2 })
  class TotalProjection {
    @OnDelta(Moved, { key: ({ account }) => ({ id: totalOf(account) }) })
    moved(total: Delta<Total>, { amount }: Moved) {
      total.add('moves', 1).add('balance', amount);
    }
  }
  return { entities: [Trail, Total], providers: [TrailProjection, TotalProjection] };
}

const followers = Object.entries(STRATEGIES).map(([name, sync]) => followerOf(name, sync));

export const followerEntities = followers.flatMap(({ entities }) => entities);
export const followerProviders = followers.flatMap(({ providers }) => providers);
