import type { Type } from '@nestjs/common';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { nextMessage, runWithMessage } from '../../kernel/message-context.js';
import { scopes, Unit } from '../../kernel/unit-of-work.js';
import { FreshRead, type Reading } from '../query/fresh-read.js';
import type { ReadDemand } from '../query/read-demand.js';
import { Reads } from '../query/reads.js';
import { wasCacheHit } from './cache-hits.js';
import { CacheResult } from './cache-result.js';
import type { InvalidationChannel } from './invalidation-channel.js';
import { QueryCache } from './query-cache.js';

class OrderView {}
class UserView {}
class GetOrder {
  constructor(readonly id: string) {}
}
class GetOrderForPrint extends GetOrder {}
class GetSecret {
  readonly #caller: string;
  constructor(
    caller: string,
    readonly page = 1,
  ) {
    this.#caller = caller;
  }
  get caller(): string {
    return this.#caller;
  }
}
class GetDerived extends GetSecret {}
class GetForgotten {
  constructor(id: string) {
    forgotten.push(id);
  }
}
const forgotten: string[] = [];
class GetEverything {}

@Reads(OrderView)
@CacheResult()
class GetOrderHandler {}
@Reads(UserView)
@CacheResult({ maxEntries: 2 })
class GetUserHandler {}
@Reads(OrderView)
@CacheResult({ ttlMs: 20 })
class ShortHandler {}
@Reads(OrderView)
class UncachedHandler {}

const EVENTUAL: ReadDemand = { kind: 'eventual' };
/** In these tests a token is the position of shard 0 that it demands. */
const atLeast = (seq: number): ReadDemand => ({ kind: 'token', token: String(seq), deadlineMs: 1_000, onTimeout: 'error' });
const at = (seq: number): ReadonlyMap<number, number> => new Map([[0, seq]]);

class PositionFreshRead extends FreshRead {
  override run<T>(): Promise<Reading<T>> {
    throw new Error('the cache does not read');
  }
  override satisfies(demand: ReadDemand, passed: ReadonlyMap<number, number> | undefined): boolean {
    return demand.kind === 'eventual' || (demand.kind === 'token' && (passed?.get(0) ?? -1) >= Number(demand.token));
  }
}
class OpenUnit extends Unit {}

/** A handler that is told when to answer. */
function computation(passed?: ReadonlyMap<number, number>) {
  const runs: { answer: (value: unknown) => void; fail: (error: unknown) => void }[] = [];
  const compute = vi.fn(
    (_keepPositions: boolean) => new Promise<Reading<unknown>>((resolve, reject) => runs.push({ answer: (value) => resolve({ value, passed }), fail: reject })),
  );
  return { runs, compute };
}
const answering = (value: unknown, passed?: ReadonlyMap<number, number>) => vi.fn((_keepPositions: boolean) => Promise.resolve({ value, passed }));

describe('QueryCache', () => {
  const channel = { connected: true };
  let cache: QueryCache;
  const ask = (
    id: string,
    compute: (keepPositions: boolean) => Promise<Reading<unknown>>,
    demand: ReadDemand = EVENTUAL,
    handlerClass: Type = GetOrderHandler,
    entity: Type = OrderView,
  ) => cache.answer({ handlerClass, query: new GetOrder(id), demand, entities: [entity] }, compute);

  beforeEach(() => {
    channel.connected = true;
    cache = new QueryCache(new PositionFreshRead(), channel as InvalidationChannel);
  });

  it('answers an equal query without running the handler, and tells that it did', async () => {
    const compute = answering({ id: '1' });
    const first = await ask('1', compute);
    const facts = nextMessage();
    const second = await runWithMessage(facts, () => ask('1', compute));
    expect([second, compute.mock.calls.length, wasCacheHit(facts), cache.counts]).toEqual([first, 1, true, { hits: 1, misses: 1 }]);
  });

  it('keeps queries, handlers and tenants apart', async () => {
    const asked = (tenant: string | undefined, id: string, value: string) => runWithMessage(nextMessage({ tenant }), () => ask(id, answering(value)));
    expect(await asked('acme', '1', 'a')).toBe('a');
    expect(await asked('umbrella', '1', 'b')).toBe('b');
    expect(await asked(undefined, '1', 'c')).toBe('c');
    expect(await asked('acme', '2', 'd')).toBe('d');
    expect(await ask('1', answering('e'), EVENTUAL, GetUserHandler, UserView)).toBe('e');
    expect(await asked('acme', '1', 'not asked')).toBe('a');
  });

  const askWith = (query: object, value: string) => cache.answer({ handlerClass: GetOrderHandler, query, demand: EVENTUAL, entities: [OrderView] }, answering(value));

  it('keeps a query and one of a class that extends it apart, whatever they are called', async () => {
    const sameName = { GetOrder: class extends GetOrder {} }.GetOrder;
    expect(await askWith(new GetOrder('1'), 'a')).toBe('a');
    expect(await askWith(new GetOrderForPrint('1'), 'b')).toBe('b');
    expect(await askWith(new sameName('1'), 'c')).toBe('c');
    expect(await askWith(new GetOrder('1'), 'not asked')).toBe('a');
  });

  it.each([
    ['private fields', () => new GetSecret('ada'), () => new GetSecret('bob')],
    ['inherited private fields', () => new GetDerived('ada'), () => new GetDerived('bob')],
    ['parameters that are nowhere', () => new GetForgotten('ada'), () => new GetForgotten('bob')],
  ])('never gives one caller the answer of another because a query has %s', async (_, ada, bob) => {
    expect(await askWith(ada(), 'for ada')).toBe('for ada');
    expect(await askWith(bob(), 'for bob')).toBe('for bob');
  });

  it('keeps the answer to a query without parameters', async () => {
    expect(await askWith(new GetEverything(), 'all')).toBe('all');
    expect(await askWith(new GetEverything(), 'not asked')).toBe('all');
  });

  it('forgets an answer after its time', async () => {
    await ask('1', answering('old'), EVENTUAL, ShortHandler);
    await vi.waitFor(async () => expect(await ask('1', answering('new'), EVENTUAL, ShortHandler)).toBe('new'));
  });

  it('forgets the answers that read a changed entity, and no others', async () => {
    await ask('1', answering('order'));
    await ask('1', answering('user'), EVENTUAL, GetUserHandler, UserView);
    cache.invalidate(['OrderView']);
    expect(await ask('1', answering('new order'))).toBe('new order');
    expect(await ask('1', answering('new user'), EVENTUAL, GetUserHandler, UserView)).toBe('user');
    cache.invalidateAll();
    expect(await ask('1', answering('newer user'), EVENTUAL, GetUserHandler, UserView)).toBe('newer user');
  });

  it('forgets what was read before a floor, and keeps what was read above it', async () => {
    await ask('1', answering('at 5', at(5)));
    await ask('2', answering('at 6', at(6)));
    await ask('3', answering('held back then', undefined));
    cache.invalidateUpTo(['OrderView'], at(6));
    expect(await ask('1', answering('at 7', at(7)))).toBe('at 7');
    expect(await ask('2', answering('computed'))).toBe('at 6');
    expect(await ask('3', answering('still held back', undefined))).toBe('still held back');
    expect(await ask('3', answering('computed'))).toBe('still held back');
    cache.invalidateUpTo(['UserView'], at(9));
    expect(await ask('1', answering('computed'))).toBe('at 7');
  });

  it('keeps what was computed while a floor was found only when it was read above it', async () => {
    const asked = [5, 6].map((seq) => {
      const { compute, runs } = computation(at(seq));
      return { answer: ask(`${seq}`, compute), runs };
    });
    cache.invalidateUpTo(['OrderView'], at(6));
    for (const { answer, runs } of asked) {
      runs[0]!.answer('kept');
      await answer;
    }
    expect(await ask('5', answering('computed'))).toBe('computed');
    expect(await ask('6', answering('computed'))).toBe('kept');
  });

  it('knows when it keeps nothing', async () => {
    expect(cache.isEmpty).toBe(true);
    await ask('1', answering('short'), EVENTUAL, ShortHandler);
    expect(cache.isEmpty).toBe(false);
    await vi.waitFor(() => expect(cache.isEmpty).toBe(true));
    expect([...cache.entities]).toEqual([OrderView]);
  });

  it('returns but does not keep what was computed while its entity changed', async () => {
    const { compute, runs } = computation();
    const asked = ask('1', compute);
    cache.invalidate(['OrderView']);
    runs[0]!.answer('read before the change');
    expect(await asked).toBe('read before the change');
    expect(await ask('1', answering('read after it'))).toBe('read after it');
  });

  it('does not let a query join a computation that began before a change', async () => {
    const { compute, runs } = computation();
    const early = ask('1', compute);
    cache.invalidate(['OrderView']);
    const late = ask('1', compute);
    runs[1]!.answer('after');
    runs[0]!.answer('before');
    expect([await early, await late]).toEqual(['before', 'after']);
    expect(await ask('1', answering('computed again'))).toBe('after');
  });

  it('computes once for equal queries at the same time', async () => {
    const { compute, runs } = computation();
    const asked = [ask('1', compute), ask('1', compute), ask('1', compute)];
    runs[0]!.answer({ id: '1' });
    const [first, ...others] = await Promise.all(asked);
    expect(compute).toHaveBeenCalledTimes(1);
    expect(others.every((other) => other === first)).toBe(true);
    expect(Object.isFrozen(first)).toBe(true);
  });

  it('gives an error to every waiter and keeps it from nobody else', async () => {
    const { compute, runs } = computation();
    const asked = [ask('1', compute), ask('1', compute)];
    runs[0]!.fail(new Error('no such table'));
    expect(await Promise.allSettled(asked)).toEqual([expect.objectContaining({ status: 'rejected' }), expect.objectContaining({ status: 'rejected' })]);
    expect(await ask('1', answering('well again'))).toBe('well again');
  });

  it('answers a token only with what was read at its positions', async () => {
    await ask('1', answering('at 5', at(5)), EVENTUAL);
    expect(await ask('1', answering('computed'), atLeast(5))).toBe('at 5');
    expect(await ask('1', answering('at 6', at(6)), atLeast(6))).toBe('at 6');
    expect(await ask('1', answering('computed'), atLeast(6))).toBe('at 6');
  });

  it('does not answer a token with what was read while a stream was held back', async () => {
    await ask('1', answering('positions unknown', undefined));
    expect(await ask('1', answering('computed'), atLeast(0))).toBe('computed');
  });

  it('does not let a token wait for a computation that demands less', async () => {
    const { compute, runs } = computation();
    const eventual = ask('1', compute);
    const withToken = ask('1', compute, atLeast(9));
    runs[1]!.answer('at 9');
    runs[0]!.answer('early');
    expect([await eventual, await withToken]).toEqual(['early', 'at 9']);
  });

  it('always computes for a strong query, each by itself', async () => {
    const strong: ReadDemand = { kind: 'strong', deadlineMs: 1_000 };
    await ask('1', answering('kept', at(100)));
    const { compute, runs } = computation();
    const asked = [ask('1', compute, strong), ask('1', compute, strong)];
    runs[0]!.answer('first');
    runs[1]!.answer('second');
    expect(await Promise.all(asked)).toEqual(['first', 'second']);
  });

  it('neither answers nor keeps anything while messages may be lost', async () => {
    await ask('1', answering('before'));
    channel.connected = false;
    expect(await ask('1', answering('away'))).toBe('away');
    const { compute, runs } = computation();
    channel.connected = true;
    const asked = ask('2', compute);
    channel.connected = false;
    runs[0]!.answer('computed while the connection broke');
    await asked;
    channel.connected = true;
    expect(await ask('2', answering('read again'))).toBe('read again');
  });

  it('leaves queries inside a unit alone', async () => {
    await ask('1', answering('committed'));
    const inside = answering('own');
    expect(await scopes.run({ unit: new OpenUnit('write', 1) }, () => ask('1', inside))).toBe('own');
    expect(inside).toHaveBeenCalledWith(false);
    expect(await ask('1', answering('computed'))).toBe('committed');
  });

  it('keeps no more than maxEntries of a handler', async () => {
    for (const id of ['1', '2', '3']) await ask(id, answering(`first ${id}`), EVENTUAL, GetUserHandler, UserView);
    expect(await ask('3', answering('again'), EVENTUAL, GetUserHandler, UserView)).toBe('first 3');
    expect(await ask('1', answering('again'), EVENTUAL, GetUserHandler, UserView)).toBe('again');
  });

  it('keeps nothing that cannot be frozen', async () => {
    await ask('1', answering({ picture: Buffer.from('a') }));
    expect(await ask('1', answering('again'))).toBe('again');
  });

  it('stays out of the way of handlers without @CacheResult', async () => {
    const compute = answering({ mutable: true });
    const answer = await ask('1', compute, EVENTUAL, UncachedHandler);
    await ask('1', compute, EVENTUAL, UncachedHandler);
    expect([Object.isFrozen(answer), compute.mock.calls, cache.counts]).toEqual([false, [[false], [false]], { hits: 0, misses: 0 }]);
  });
});
