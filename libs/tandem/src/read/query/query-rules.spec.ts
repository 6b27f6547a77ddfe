import { describe, expect, it } from 'vitest';
import { Projection } from '../projection/projection.js';
import { CacheResult } from '../query-cache/cache-result.js';
import { queryProblems } from './query-rules.js';
import { Reads } from './reads.js';

class OrderView {}
class UserView {}
class Order {}

@Projection('rules.orders', { entity: OrderView, version: 1 })
class OrderProjection {}
@Projection('rules.users', { tables: [UserView], version: 1 })
class UserProjection {}
@Projection('rules.anything', { version: 1 })
class AnythingProjection {}

@CacheResult()
class ReadsNothing {}
@CacheResult()
@Reads()
class ReadsNone {}
@CacheResult()
@Reads(OrderView, UserView)
class ReadsBoth {}
@CacheResult()
@Reads(OrderView, Order)
class ReadsWriteSide {}
@Reads(Order)
class WaitsForNothing {}
@Reads(OrderView, Order)
class WaitsForSome {}
class SaysNothing {}

describe('queryProblems', () => {
  const projections = [OrderProjection, UserProjection];

  it('names cached handlers whose answers nothing would invalidate', () => {
    expect(queryProblems([ReadsNothing, ReadsNone, ReadsWriteSide], projections)).toEqual([
      expect.stringMatching(/^ReadsNothing has @CacheResult without @Reads/),
      expect.stringMatching(/^ReadsNone has @CacheResult without @Reads/),
      'ReadsWriteSide has @Reads(OrderView, Order), but no projection writes Order: cached answers would stay although it has changed',
    ]);
    expect(queryProblems([ReadsBoth], [OrderProjection])).toEqual([expect.stringContaining('no projection writes UserView')]);
  });

  it('names handlers for which a token would wait for nothing', () => {
    expect(queryProblems([WaitsForNothing], projections)).toEqual([
      expect.stringContaining('@Reads(Order), but no projection writes Order: a query with a consistency token would wait for nothing'),
    ]);
  });

  it('takes what a projection writes as its entity or in its tables, and what needs no projection', () => {
    expect(queryProblems([ReadsBoth, WaitsForSome, SaysNothing], projections)).toEqual([]);
  });

  it('takes everything where a free projection does not say what it writes', () => {
    expect(queryProblems([ReadsWriteSide, WaitsForNothing], [OrderProjection, AnythingProjection])).toEqual([]);
  });
});
