import { Logger } from '@nestjs/common';
import { afterEach, expect, it, vi } from 'vitest';
import { Clock } from '../../kernel/clock.js';
import { CommandIdSweep } from './command-id-sweep.js';
import { CommandStore } from './command-store.js';

class SweptStore extends CommandStore {
  readonly swept: number[] = [];
  failing = false;
  override take = () => Promise.resolve(undefined);
  override async sweep(keepMs: number): Promise<number> {
    this.swept.push(keepMs);
    if (this.failing) throw new Error('the database is away');
    return 0;
  }
}

afterEach(() => vi.useRealTimers());

it('forgets old command ids once a minute, until it is stopped, and goes on after an error', async () => {
  vi.useFakeTimers();
  const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  const store = new SweptStore();
  const sweep = new CommandIdSweep(store, new Clock(), { unitOfWork: 'all', keepCommandIdsMs: 5_000 });
  sweep.start();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(store.swept).toEqual([]);
  store.failing = true;
  await vi.advanceTimersByTimeAsync(61_000);
  expect(store.swept).toEqual([5_000, 5_000]);
  expect(warned).toHaveBeenCalledWith(expect.stringContaining('the database is away'));
  await sweep.stop();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(store.swept).toHaveLength(2);
  warned.mockRestore();
});
