import { afterEach, expect, it, vi } from 'vitest';
import { newId } from './new-id.js';

afterEach(() => void vi.useRealTimers());

it('makes ids that are unique and sorted by the order of their making', () => {
  const ids = Array.from({ length: 20_000 }, newId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual(ids);
  for (const id of ids.slice(0, 100)) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it('carries the time, and keeps the order when the clock goes back', () => {
  vi.useFakeTimers({ now: Date.parse('2100-01-01T00:00:00Z') });
  const first = newId();
  expect(Number.parseInt(first.replace('-', '').slice(0, 12), 16)).toBe(Date.parse('2100-01-01T00:00:00Z'));
  vi.setSystemTime(Date.parse('2099-12-31T23:59:59Z'));
  expect(newId() > first).toBe(true);
});
