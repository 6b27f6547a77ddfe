import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../events/consumer.js';
import type { ForcedRuns } from '../events/forced-runs.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import type { StoredEvent } from '../events/event-log.js';
import { noteWritten } from '../events/written.js';
import type { EventLog } from '../events/event-log.js';
import type { StorageCheck } from '../kernel/adapter.js';
import { isTandemError, type TandemError, type TandemErrorCode } from '../kernel/errors.js';
import { currentMessage, nextMessage, runWithMessage } from '../kernel/message-context.js';
import { demandByDefault, type ReadDemand } from '../read/query/read-demand.js';
import { Consistency } from './consistency.js';
import { ConsistencyGuarantor } from './consistency-guarantor.js';
import { encodeToken, streamHash } from './consistency-token.js';
import { Freshness } from './freshness.js';
import { LOG, MemoryReadSide, tokenFor } from './memory-read-side.fixture.js';
import { ReadSide } from './read-side.js';
import { StrongDispatch } from './strong-dispatch.js';

const failsWith = (code: TandemErrorCode) => expect.toSatisfy((error) => isTandemError(error, code));
const readYourWrites = (token: string): ReadDemand => ({ kind: 'token', token, deadlineMs: 1_000, onTimeout: 'error' });

describe('tokens and strong commands', () => {
  let world: MemoryReadSide;
  let guarantor: ConsistencyGuarantor;
  let dispatch: StrongDispatch;
  const advance = (name: string, seq: number) => world.positions.set(name, new Map([[0, seq]]));

  beforeEach(() => {
    world = new MemoryReadSide();
    world.heads = new Map([[0, 9]]);
    advance('orders.view', 5);
    const registry = new ConsumerRegistry();
    registry.add([{ name: 'orders.view', kind: 'projection', entities: [], events: [], onError: 'park' } as unknown as Consumer]);
    const freshness = new Freshness(world.units, new ReadSide(world.store, world.letterStore), world.log, world.clock, {
      ask: () => undefined,
    } as unknown as ForcedRuns);
    guarantor = new ConsistencyGuarantor(freshness, world.units, registry, { logId: LOG } as StorageCheck, {} as EventLog);
    dispatch = new StrongDispatch(guarantor, world.units);
  });

  const commit = (seq: number, stream = 'order-1') => noteWritten([{ shard: 0, seq, tenant: '', stream } as StoredEvent]);
  class PlaceOrder {}

  it('name what the request has committed, with the token that it brought', () => {
    runWithMessage(nextMessage(), () => {
      expect(guarantor.currentToken()).toBeUndefined();
      commit(7);
      expect(guarantor.currentToken()).toBe(tokenFor(7));
    });
    const notes = {};
    demandByDefault(notes, readYourWrites(tokenFor(2, new Set([streamHash('\norder-3')]), 1)));
    runWithMessage(
      nextMessage(),
      () => {
        expect(guarantor.currentToken()).toBeUndefined();
        commit(7);
        const streams = new Set([streamHash('\norder-1'), streamHash('\norder-3')]);
        expect(guarantor.currentToken()).toBe(
          encodeToken(LOG, {
            positions: new Map([
              [0, 7],
              [1, 2],
            ]),
            streams,
          }),
        );
      },
      notes,
    );
  });

  it('let a strong command return when the projections have followed, and tell its token before', async () => {
    const strong = Consistency.strong({ projections: ['orders.view'] });
    let told: string | undefined;
    void strong.token.then((token) => (told = token));
    world.onPause = () => advance('orders.view', 8);
    const result = await dispatch.command(new PlaceOrder(), strong, async () => {
      commit(8);
      expect(currentMessage()).toBeDefined();
      return 'done';
    });
    expect([result, told, world.positions.get('orders.view')!.get(0)]).toEqual(['done', tokenFor(8), 8]);
  });

  it('leave other commands alone', async () => {
    expect(await dispatch.command(new PlaceOrder(), undefined, async () => currentMessage())).toBeUndefined();
  });

  it('say that a strong command has committed although the wait ran out', async () => {
    const strong = Consistency.strong({ projections: ['orders.view'], deadlineMs: 50 });
    const failed = (await dispatch.command(new PlaceOrder(), strong, async () => commit(8)).catch((error: unknown) => error)) as TandemError;
    expect([failed.code, failed.data.committed, failed.data.token]).toEqual(['TANDEM_CONSISTENCY_TIMEOUT', true, await strong.token]);
  });

  it('pass on the error of a strong command, also to who asks for its token; the next command has its own', async () => {
    const strong = Consistency.strong();
    await expect(dispatch.command(new PlaceOrder(), strong, () => Promise.reject(new Error('no stock')))).rejects.toThrow('no stock');
    await expect(strong.token).rejects.toThrow('no stock');
    await dispatch.command(new PlaceOrder(), strong, async () => commit(5));
    expect(await strong.token).toBe(tokenFor(5));
  });

  it('refuse a strong command inside a unit of work', async () => {
    const strong = world.units.run(() => dispatch.command(new PlaceOrder(), Consistency.strong(), async () => 1));
    await expect(strong).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_IN_UNIT'));
  });

  it('refuse a strong command that names a projection which does not exist, or none, before it is done', async () => {
    const work = vi.fn(async () => commit(8));
    const strong = Consistency.strong({ projections: ['orders.view', 'typo'] });
    await expect(dispatch.command(new PlaceOrder(), strong, work)).rejects.toThrow(failsWith('TANDEM_WIRING'));
    await expect(strong.token).rejects.toThrow(failsWith('TANDEM_WIRING'));
    expect(() => Consistency.strong({ projections: [] })).toThrow(failsWith('TANDEM_WIRING'));
    await expect(guarantor.waitFor(tokenFor(1), { projections: [] })).rejects.toThrow(failsWith('TANDEM_WIRING'));
    expect(work).not.toHaveBeenCalled();
  });

  it('refuse to wait for a projection that does not exist', async () => {
    await expect(guarantor.waitFor(tokenFor(1), { projections: ['typo'] })).rejects.toThrow(failsWith('TANDEM_WIRING'));
  });
});
