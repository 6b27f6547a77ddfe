import { describe, expect, it } from 'vitest';
import { isTandemError } from '../../kernel/errors.js';
import { SyncStrategy } from './sync-strategy.js';

describe('SyncStrategy', () => {
  it('fills in its defaults', () => {
    expect(SyncStrategy.batched(5)).toEqual({ kind: 'batched', size: 5, maxWaitMs: 1_000 });
    expect(SyncStrategy.scheduled({ cron: '@daily' })).toEqual({ kind: 'scheduled', cron: '@daily', timezone: 'UTC' });
    expect(SyncStrategy.scheduled({ everyMs: 1_000 })).toEqual({ kind: 'scheduled', everyMs: 1_000 });
  });

  it.each<[string, () => unknown]>([
    ['a size of nothing', () => SyncStrategy.batched(0)],
    ['half an event', () => SyncStrategy.batched(1.5)],
    ['no wait', () => SyncStrategy.batched(5, { maxWaitMs: 0 })],
    ['a misspelt option', () => SyncStrategy.batched(5, { maxWait: 5 } as never)],
    ['a schedule without a time', () => SyncStrategy.scheduled({} as never)],
    ['two schedules', () => SyncStrategy.scheduled({ everyMs: 5_000, cron: '* * * * *' } as never)],
    ['a time zone for everyMs', () => SyncStrategy.scheduled({ everyMs: 5_000, timezone: 'UTC' } as never)],
    ['more often than each second', () => SyncStrategy.scheduled({ everyMs: 999 })],
    ['a bad cron expression', () => SyncStrategy.scheduled({ cron: 'each day' })],
    ['a bad time zone', () => SyncStrategy.scheduled({ cron: '@daily', timezone: 'Berlin/Europe' })],
  ])('refuses %s', (_, make) => {
    expect(make).toThrow(expect.toSatisfy((error) => isTandemError(error, 'TANDEM_WIRING')));
  });
});
