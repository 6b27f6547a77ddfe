import { Logger } from '@nestjs/common';
import { afterEach, expect, it, vi } from 'vitest';
import { ConnectionBudget } from './connection-budget.js';

afterEach(() => vi.restoreAllMocks());

const pools =
  (...sizes: readonly number[]) =>
  () =>
    sizes.map((atMost, index) => ({ of: ['commands', 'queries', 'workers'][index]!, atMost }));

async function told(limit: () => Promise<number | undefined>): Promise<readonly (readonly [string, string])[]> {
  const lines: [string, string][] = [];
  for (const level of ['log', 'warn'] as const) vi.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push([level, String(line)]));
  const budget = new ConnectionBudget();
  budget.beside('postgres', () => [{ of: 'BullMQ', atMost: 4 }]);
  budget.beside('mysql', () => [{ of: 'somebody else', atMost: 99 }]);
  budget.ofLog({ server: 'postgres', shares: pools(10, 5, 8), limit });
  await budget.tell();
  return lines;
}

it('tells the sum, each pool, and how many such processes the server has room for', async () => {
  expect(await told(async () => 97)).toEqual([
    [
      'log',
      'This process opens at most 27 connections to the database: 10 for commands, 5 for queries, 8 for workers, 4 for BullMQ. The server takes 97, enough for 3 such processes.',
    ],
  ]);
});

it('warns when one process alone may open more than the server takes', async () => {
  expect(await told(async () => 20)).toEqual([['warn', expect.stringContaining('The server takes only 20: make the pools smaller.')]]);
});

it.each([
  ['does not tell', async () => undefined],
  ['fails to tell', async () => Promise.reject(new Error('no right'))],
])('leaves out the limit of a server that %s', async (_how, limit) => {
  expect(await told(limit)).toEqual([['log', 'This process opens at most 27 connections to the database: 10 for commands, 5 for queries, 8 for workers, 4 for BullMQ.']]);
});

it('says nothing where the storage has no connections', async () => {
  const log = vi.spyOn(Logger.prototype, 'log');
  await new ConnectionBudget().tell();
  expect(log).not.toHaveBeenCalled();
});
