import { describe, expect, it } from 'vitest';
import { freezeAnswer } from './freeze-answer.js';

class OrderView {
  id = '1';
  placedAt = new Date(0);
  lines = [{ sku: 'a', tags: new Set(['x']) }];
  totals = new Map([['eur', { amount: '1' }]]);
}

describe('freezeAnswer', () => {
  it('leaves a caller nothing to change', () => {
    const view = new OrderView();
    expect(freezeAnswer([view])).toBe(true);
    const changes: (() => unknown)[] = [
      () => (view.id = '2'),
      () => view.placedAt.setFullYear(2000),
      () => view.lines.push({ sku: 'b', tags: new Set() }),
      () => (view.lines[0]!.sku = 'b'),
      () => view.lines[0]!.tags.add('y'),
      () => view.lines[0]!.tags.clear(),
      () => view.totals.set('usd', { amount: '2' }),
      () => view.totals.delete('eur'),
      () => (view.totals.get('eur')!.amount = '9'),
    ];
    for (const change of changes) expect(change).toThrow(TypeError);
    expect(view).toEqual(new OrderView());
    expect(JSON.stringify(view)).toBe(JSON.stringify(new OrderView()));
  });

  it('takes an answer again that it froze before, and one that leads back to itself', () => {
    const parent: Record<string, unknown> = { at: new Date(1) };
    parent.children = [{ parent }];
    expect([freezeAnswer(parent), freezeAnswer(parent), freezeAnswer({ again: parent })]).toEqual([true, true, true]);
  });

  it('takes maps and sets of any size', () => {
    const numbers = Array.from({ length: 200_000 }, (_, i) => i);
    const last = { id: '1' };
    expect(freezeAnswer([new Set<unknown>([...numbers, last]), new Map(numbers.map((n) => [n, n]))])).toBe(true);
    expect(Object.isFrozen(last)).toBe(true);
  });

  it.each([null, undefined, 0, 'text', 5n])('takes %s', (value) => expect(freezeAnswer(value)).toBe(true));

  it.each([
    ['bytes', Buffer.from('a')],
    ['a promise', Promise.resolve(1)],
    ['a function', () => 1],
    ['an accessor', Object.defineProperty({}, 'lazy', { get: () => 1, enumerable: true })],
    ['a date that somebody froze without covering it', Object.freeze(new Date(0))],
  ])('leaves an answer with %s as it is', (_, value) => {
    const answer = { list: [{ value }] };
    expect(freezeAnswer(answer)).toBe(false);
    expect(Object.isFrozen(answer) || Object.isFrozen(answer.list) || Object.isFrozen(answer.list[0])).toBe(false);
  });
});
