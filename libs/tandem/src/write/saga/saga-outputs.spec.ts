import { Logger } from '@nestjs/common';
import { Command } from '@nestjs/cqrs';
import { concat, EMPTY, map, NEVER, Observable, of, range, throwError } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../../events/consumer.js';
import { DomainEvent } from '../../events/domain-event.js';
import { On } from '../../events/on.js';
import { ExternalJob } from '../../jobs/external-job.js';
import type { JobOutbox } from '../../jobs/job-outbox.js';
import type { NewJob } from '../../jobs/job-store.js';
import { QueuedCommand } from '../../jobs/queued-command.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { consumed } from '../../testing/consumed.js';
import { DurableSaga, type SagaOutputs } from './durable-saga.js';
import { MAX_SAGA_DEPTH, sagaConsumer } from './saga-consumer.js';
import { MAX_OUTPUTS } from './saga-outputs.js';

@DomainEvent('spec.happened', { version: 1, stream: (e) => ['thing', e.id] })
class Happened {
  constructor(readonly id: string) {}
}
@QueuedCommand('spec.ship', { queue: 'spec', effect: 'sql' })
class Ship extends Command<void> {
  constructor(readonly n: number) {
    super();
  }
}
class Unqueued extends Command<void> {}

let returned: () => unknown;
@DurableSaga('spec.saga')
class Shipping {
  @On(Happened)
  happened(_event: Happened): SagaOutputs | Promise<SagaOutputs> {
    return returned() as SagaOutputs;
  }
}

const TIMEOUT_MS = 40;
const jobs: NewJob[] = [];
const outbox = { put: (_unit: Unit, added: readonly NewJob[]) => Promise.resolve(void jobs.push(...added)) } as unknown as JobOutbox;
const consumer: Consumer = sagaConsumer(new Shipping(), outbox, TIMEOUT_MS);
const handle = (returns: () => unknown, metadata = {}): Promise<void> => {
  returned = returns;
  return consumer.handle({} as Unit, [consumed(new Happened('1'), metadata)]);
};
const made = (): unknown[] => jobs.map(({ payload }) => (JSON.parse(payload) as { n: number }).n);
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const errors = vi.spyOn(Logger.prototype, 'error');
const reported = (): string[] => errors.mock.calls.map(([line]) => String(line));
beforeEach(() => {
  jobs.length = 0;
  errors.mockReset().mockImplementation(() => undefined);
});
afterEach(() => vi.restoreAllMocks);

describe('what a saga makes of an event', () => {
  it.each<[string, () => unknown, (number | undefined)[]]>([
    ['nothing', () => undefined, []],
    ['null', () => null, []],
    ['a command', () => new Ship(1), [1]],
    ['an external job', () => new ExternalJob('theirs', 'print', { n: 1 }), [undefined]],
    ['a list', () => [new Ship(1), new Ship(2)], [1, 2]],
    ['an empty list', () => [], []],
    ['a promise', () => Promise.resolve([new Ship(1)]), [1]],
    ['an Observable', () => of(new Ship(1), new Ship(2)), [1, 2]],
    ['an Observable that takes its time', () => concat(of(new Ship(1)), new Observable((to) => void setTimeout(() => (to.next(new Ship(2)), to.complete()), 5))), [1, 2]],
    ['an empty Observable', () => EMPTY, []],
    ['a promise of an Observable', async () => of(new Ship(1)), [1]],
    ['as many as it may', () => Array.from({ length: MAX_OUTPUTS }, () => new Ship(0)), Array.from({ length: MAX_OUTPUTS }, () => 0)],
  ])('may be %s', async (_what, returns, expected) => {
    await handle(returns);
    expect(made()).toEqual(expected);
    expect(new Set(jobs.map(({ dedupeKey }) => dedupeKey)).size).toBe(expected.length);
    expect(reported()).toEqual([]);
  });

  it.each<[string, () => unknown, string]>([
    ['a text', () => 'ship', 'a string'],
    ['an event', () => new Happened('1'), 'a Happened'],
    ['a command that is not queued', () => [new Ship(1), new Unqueued()], 'a Unqueued'],
    ['a list in a list', () => [[new Ship(1)]], 'a list in a list'],
    ['a promise in a list', () => [Promise.resolve(new Ship(1))], 'a Promise'],
    ['nothing in a list', () => [undefined], 'undefined'],
    ['what an Observable emits', () => of(new Ship(1), 2), 'a number'],
    ['more than it may', () => Array.from({ length: MAX_OUTPUTS + 1 }, () => new Ship(0)), `more than ${MAX_OUTPUTS}`],
    ['an Observable without an end', () => concat(of('x'), NEVER), 'a string'],
    ['an endless Observable that never pauses', () => range(1, Number.MAX_SAFE_INTEGER).pipe(map((n) => new Ship(n))), `more than ${MAX_OUTPUTS}`],
  ])('may not be %s: the event fails, naming saga and method, and nothing is queued', async (_what, returns, told) => {
    await expect(handle(returns)).rejects.toMatchObject({
      cause: { code: 'TANDEM_SAGA_OUTPUT', message: expect.stringContaining(told), data: { saga: 'spec.saga', method: 'Shipping.happened' } },
    });
    expect(jobs).toEqual([]);
  });

  it.each<[string, () => unknown]>([
    ['an Observable that does not complete', () => concat(of(new Ship(1)), NEVER)],
    ['a promise that does not settle', () => new Promise(() => undefined)],
  ])('is waited for no longer than its time: %s', async (_what, returns) => {
    await expect(handle(returns)).rejects.toMatchObject({ cause: { code: 'TANDEM_HANDLER_TIMEOUT', message: expect.stringContaining('Shipping.happened') } });
    expect(jobs).toEqual([]);
  });

  it('fails as its method, or its Observable, does', async () => {
    await expect(handle(() => Promise.reject(new Error('no')))).rejects.toMatchObject({ cause: { message: 'no' } });
    await expect(
      handle(() =>
        concat(
          of(new Ship(1)),
          throwError(() => new Error('never')),
        ),
      ),
    ).rejects.toMatchObject({ cause: { message: 'never' } });
    expect([jobs, reported()]).toEqual([[], []]);
  });
});

describe('what a saga makes too late is reported, once, and lost', () => {
  const lost = ['TANDEM_SAGA_LATE_OUTPUT: Shipping.happened of the saga "spec.saga"'];
  const seen = () => vi.waitFor(() => expect(reported().map((line) => line.slice(0, lost[0]!.length))).toEqual(lost), { timeout: 10_000 });

  it('returned when its time was up', async () => {
    await expect(handle(() => later(TIMEOUT_MS * 2).then(() => new Ship(1)))).rejects.toMatchObject({ cause: { code: 'TANDEM_HANDLER_TIMEOUT' } });
    await seen();
  });

  it('failed when its time was up', async () => {
    const failing = () =>
      later(TIMEOUT_MS * 2).then(() => {
        throw new Error('too late');
      });
    await expect(handle(failing)).rejects.toMatchObject({ cause: { code: 'TANDEM_HANDLER_TIMEOUT' } });
    await seen();
    expect(reported()[0]).toContain('too late');
  });

  it('emitted when its time was up', async () => {
    const endless = new Observable((to) => {
      for (const ms of [2, 3]) setTimeout(() => to.next(new Ship(1)), TIMEOUT_MS * ms);
    });
    await expect(handle(() => endless)).rejects.toMatchObject({ cause: { code: 'TANDEM_HANDLER_TIMEOUT' } });
    await seen();
    await later(TIMEOUT_MS * 2);
    await seen();
    expect(jobs).toEqual([]);
  });

  it('emitted when it was complete', async () => {
    const going = new Observable((to) => {
      to.next(new Ship(1));
      to.complete();
      setTimeout(() => to.next(new Ship(2)), 5);
    });
    await handle(() => going);
    await seen();
    expect(made()).toEqual([1]);
  });

  it('pushed onto the list that it had returned: that fails where it is done', async () => {
    const list = [new Ship(1)];
    await handle(() => list);
    expect(() => list.push(new Ship(2))).toThrow(TypeError);
    expect(made()).toEqual([1]);
  });
});

it('an Observable is unsubscribed from when its time is up', async () => {
  let stopped = 0;
  await expect(handle(() => new Observable(() => () => void stopped++))).rejects.toMatchObject({ cause: { code: 'TANDEM_HANDLER_TIMEOUT' } });
  expect(stopped).toBe(1);
});

it('a chain of sagas ends: one after the other, so many and no more', async () => {
  await handle(() => new Ship(1), { depth: MAX_SAGA_DEPTH - 1 });
  expect(JSON.parse(jobs[0]!.metadata)).toMatchObject({ depth: MAX_SAGA_DEPTH });
  await expect(handle(() => new Ship(1), { depth: MAX_SAGA_DEPTH })).rejects.toMatchObject({ cause: { code: 'TANDEM_SAGA_DEPTH' } });
  await handle(() => undefined, { depth: MAX_SAGA_DEPTH });
  expect(jobs).toHaveLength(1);
});
