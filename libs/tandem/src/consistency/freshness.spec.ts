import type { Type } from '@nestjs/common';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../events/consumer.js';
import type { ForcedRuns } from '../events/forced-runs.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import type { DeadLetter } from '../events/dead-letter-store.js';
import type { EventLog } from '../events/event-log.js';
import type { StorageCheck } from '../kernel/adapter.js';
import { isTandemError, type TandemError, type TandemErrorCode } from '../kernel/errors.js';
import { currentUnit, type Unit } from '../kernel/unit-of-work.js';
import type { MadeDemand, ReadDemand } from '../read/query/read-demand.js';
import { Consistency } from './consistency.js';
import { ConsistencyGuarantor } from './consistency-guarantor.js';
import { encodeToken } from './consistency-token.js';
import { Freshness } from './freshness.js';
import { LOG, MemoryReadSide, type MemoryUnit, tokenFor } from './memory-read-side.fixture.js';
import { ReadSide } from './read-side.js';
import { SnapshotFreshRead } from './snapshot-fresh-read.js';

class OrderView {}
class UserView {}

const letter = (consumer: string, state: DeadLetter['state'], seq: number, stream = 'order-1'): DeadLetter => ({
  ...{ consumer, generation: 1, tenant: '', stream, eventId: 'e1', type: 'order.placed', state, attempts: 1, error: 'boom', due: false, shard: 0, seq },
});
const failsWith = (code: TandemErrorCode) => expect.toSatisfy((error) => isTandemError(error, code));
const readYourWrites = (token: string, onTimeout: 'error' | 'stale' = 'error'): ReadDemand => ({ kind: 'token', token, deadlineMs: 1_000, onTimeout });
const byCall = (demand: ReadDemand): MadeDemand => ({ demand, by: 'call' });
const byRequest = (demand: ReadDemand): MadeDemand => ({ demand, by: 'request' });

describe('fresh reads', () => {
  let world: MemoryReadSide;
  let reads: SnapshotFreshRead;
  let guarantor: ConsistencyGuarantor;
  let readSide: ReadSide;

  const project = (name: string, entity: Type, seq: number, onError: Consumer['onError'] = 'park') => {
    world.positions.set(name, new Map([[0, seq]]));
    return { name, kind: 'projection', entities: [entity], events: [], onError } as unknown as Consumer;
  };
  const advance = (name: string, seq: number) => world.positions.get(name)!.set(0, seq);
  /** Where the projection was in the snapshot that the handler ran in. */
  const positionOf = (name: string) => async () => (currentUnit() as MemoryUnit).seen.positions.get(name)!.get(0);
  const ask = (made: MadeDemand, work: () => Promise<unknown> = positionOf('orders.view'), entities: Type[] | undefined = [OrderView], keepPositions = false) =>
    reads.run({ ...made, entities, keepPositions }, work);

  beforeEach(() => {
    world = new MemoryReadSide();
    world.heads = new Map([[0, 9]]);
    const registry = new ConsumerRegistry();
    registry.add([project('orders.view', OrderView, 5), project('users.view', UserView, 5), project('sales', class Sales {}, 5, 'halt')]);
    const storage = { logId: LOG } as StorageCheck;
    readSide = new ReadSide(world.store, world.letterStore);
    const freshness = new Freshness(world.units, readSide, world.log, world.clock, { ask: () => undefined } as unknown as ForcedRuns);
    reads = new SnapshotFreshRead(world.units, freshness, registry, world.log, storage);
    guarantor = new ConsistencyGuarantor(freshness, world.units, registry, storage, {} as EventLog);
  });

  it('run an undemanding query in one snapshot, without looking at anything', async () => {
    world.store.positions = () => Promise.reject(new Error('not asked'));
    expect(await ask(byRequest({ kind: 'eventual' }), async () => currentUnit()?.kind)).toEqual({ value: 'snapshot', passed: undefined });
  });

  it('answer a token at once when the projection has passed it', async () => {
    expect((await ask(byCall(readYourWrites(tokenFor(5))))).value).toBe(5);
    expect(world.snapshots).toBe(1);
  });

  it('wait for the projection, and answer from the snapshot that shows it passed', async () => {
    world.onPause = (pauses) => advance('orders.view', 5 + pauses);
    expect((await ask(byCall(readYourWrites(tokenFor(8))))).value).toBe(8);
  });

  it('wait only for the projections of what the handler reads; without @Reads for all', async () => {
    advance('users.view', 1);
    expect((await ask(byCall(readYourWrites(tokenFor(5))))).value).toBe(5);
    await expect(reads.run({ ...byCall(readYourWrites(tokenFor(5))), entities: undefined, keepPositions: false }, async () => 1)).rejects.toThrow(
      failsWith('TANDEM_CONSISTENCY_TIMEOUT'),
    );
  });

  it('give up at the deadline, naming the projection, and not before', async () => {
    const failed = (await ask(byCall(readYourWrites(tokenFor(8)))).catch((error: unknown) => error)) as TandemError;
    expect([failed.code, failed.data, world.now]).toEqual(['TANDEM_CONSISTENCY_TIMEOUT', { projections: ['orders.view'], deadlineMs: 1_000 }, 1_000]);
  });

  it('take few snapshots while they wait, and one statement for all who wait', async () => {
    await expect(ask(byCall(readYourWrites(tokenFor(8))))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_TIMEOUT'));
    expect(world.snapshots).toBeLessThanOrEqual(3);

    const positions = vi.spyOn(world.store, 'positions');
    const consumers = [{ name: 'orders.view' }, { name: 'users.view' }] as Consumer[];
    const target = (seq: number) => ({ positions: new Map([[0, seq]]), streams: 'any' }) as const;
    const asked = Array.from({ length: 50 }, (_, i) => readSide.havePassed({ consumers: [consumers[i % 2]!], target: target(i) }));
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 50 }, (_, i) => i <= 5));
    expect(positions).toHaveBeenCalledTimes(1);
    advance('orders.view', 9);
    expect(await readSide.havePassed({ consumers, target: target(5) })).toBe(true);
    expect(await readSide.havePassed({ consumers: [consumers[0]!], target: target(9) })).toBe(true);
  });

  it('answer from what is there after the deadline where that was asked for', async () => {
    expect((await ask(byCall(readYourWrites(tokenFor(8), 'stale')))).value).toBe(5);
    expect(world.now).toBe(1_000);
  });

  it('refuse a token of events that the log does not have', async () => {
    await expect(ask(byCall(readYourWrites(tokenFor(10))))).rejects.toThrow(failsWith('TANDEM_TOKEN_INVALID'));
    await expect(ask(byCall(readYourWrites(encodeToken('another-log', { positions: new Map(), streams: new Set() }))))).rejects.toThrow(failsWith('TANDEM_TOKEN_INVALID'));
  });

  it("do not call an answer fresh while the token's stream is a dead letter", async () => {
    world.letters = [letter('orders.view', 'parked', 4)];
    await expect(ask(byCall(readYourWrites(tokenFor(5))))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_HELD'));
    expect(world.now).toBe(0);
  });

  it('wait for a dead letter that is still retried', async () => {
    world.letters = [letter('orders.view', 'retrying', 4)];
    await expect(ask(byCall(readYourWrites(tokenFor(5))))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_HELD'));
    expect(world.now).toBe(1_000);
    world.onPause = () => (world.letters = []);
    expect((await ask(byCall(readYourWrites(tokenFor(5))))).value).toBe(5);
  });

  it.each([
    ['of another stream', letter('orders.view', 'parked', 4, 'order-2'), undefined],
    ['of another projection', letter('users.view', 'parked', 4), undefined],
    ['from after the token', letter('orders.view', 'parked', 6), undefined],
    ['in a shard of which the token says nothing', letter('orders.view', 'parked', 4), 'other shard'],
  ])('are not kept by a dead letter %s', async (_, held, shard) => {
    world.letters = [held];
    if (shard) world.positions.get('orders.view')!.set(1, 1);
    const token = shard ? tokenFor(1, 'any', 1) : tokenFor(5);
    expect((await ask(byCall(readYourWrites(token)))).value).toBe(5);
  });

  it('count every dead letter of the shard when the token names too many streams', async () => {
    world.letters = [letter('orders.view', 'parked', 4, 'order-2')];
    await expect(ask(byCall(readYourWrites(tokenFor(5, 'any'))))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_HELD'));
  });

  it('say at once that a projection has halted, whichever stream failed', async () => {
    world.letters = [letter('sales', 'parked', 6, 'order-2')];
    const waiting = guarantor.waitFor(tokenFor(8), { projections: ['sales'] });
    await expect(waiting).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_HELD'));
    expect(world.now).toBe(0);
  });

  it('of a strong query see everything that was committed when it began', async () => {
    world.onPause = (pauses) => advance('orders.view', 5 + pauses);
    expect((await ask(byCall(Consistency.strong().demand))).value).toBe(9);
  });

  it('tell the positions that an answer was read at, and nothing while a stream is held back', async () => {
    expect((await ask(byRequest({ kind: 'eventual' }), undefined, [OrderView], true)).passed?.get(0)).toBe(5);
    world.letters = [letter('orders.view', 'parked', 4)];
    expect((await ask(byRequest({ kind: 'eventual' }), undefined, [OrderView], true)).passed).toBeUndefined();
    expect([reads.satisfies(readYourWrites(tokenFor(5)), new Map([[0, 5]])), reads.satisfies(readYourWrites(tokenFor(6)), new Map([[0, 5]]))]).toEqual([true, false]);
    expect(reads.satisfies(readYourWrites(tokenFor(0)), undefined)).toBe(false);
  });

  describe('inside a unit of work', () => {
    const within = <T>(kind: Unit['kind'], work: () => Promise<T>) => world.units.run(work, { kind });

    it('are refused when the call demands them, since it would wait for its own COMMIT', async () => {
      for (const demand of [readYourWrites(tokenFor(1)), Consistency.strong().demand]) {
        await expect(within('write', () => ask(byCall(demand)))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
        await expect(within('consumer', () => ask(byCall(demand)))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
      }
      await expect(within('write', () => guarantor.waitFor(tokenFor(1)))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
    });

    it("meet the request's token when the projection has passed it, and are refused otherwise", async () => {
      await ask(byCall(readYourWrites(tokenFor(1)))); // as the interceptor does, what is live is known
      expect((await within('write', () => ask(byRequest(readYourWrites(tokenFor(5)))))).value).toBe(5);
      await expect(within('write', () => ask(byRequest(readYourWrites(tokenFor(6)))))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
    });

    it('of a query within a query repeat the outer one until both are fresh, even if it swallows the error', async () => {
      advance('users.view', 3);
      world.onPause = () => advance('users.view', 5);
      const token = byRequest(readYourWrites(tokenFor(5)));
      for (const swallow of [false, true]) {
        advance('users.view', 3);
        const outer = async () => {
          const inner = ask(token, positionOf('users.view'), [UserView]).then(({ value }) => value);
          return swallow ? inner.catch(() => 'nothing') : inner;
        };
        expect((await ask(token, outer)).value).toBe(5);
      }
    });

    it('of a query within a stale one answer from what is there too', async () => {
      const token = byRequest(readYourWrites(tokenFor(8), 'stale'));
      expect((await ask(token, () => ask(token, positionOf('users.view'), [UserView]))).value).toEqual({ value: 5, passed: undefined });
    });
  });
});
