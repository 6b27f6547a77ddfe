import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedTickets } from './shared-tickets.js';

const ticket = (id: string, own: object = {}) => ({ id, epoch: 0, queue: 'spec', name: 'spec.count', ...own });
const idsOf = (tickets: ReturnType<typeof sharedTickets>) => tickets.map(({ id, others = [] }) => [id, ...others].join(' '));

describe('tickets of jobs that may run together', () => {
  it('are one for each batch, in the order of the jobs', () => {
    const shared = sharedTickets([ticket('a'), ticket('x', { name: 'spec.mail' }), ticket('b'), ticket('c'), ticket('d'), ticket('y', { name: 'spec.mail' })], (name) =>
      name === 'spec.count' ? 3 : 1,
    );
    expect(idsOf(shared)).toEqual(['a b c', 'x', 'd', 'y']);
    expect(shared[1]).toEqual({ id: 'x', epoch: 0, queue: 'spec' });
  });

  it.each([{ epoch: 1 }, { delayMs: 5 }, { priority: 1 }, { queue: 'other' }, { again: 1 }])('are not shared with one of %j', (own) => {
    expect(idsOf(sharedTickets([ticket('a'), ticket('b', own), ticket('c')], () => 10))).toEqual(['a c', 'b']);
  });

  it.each([{ epoch: 1 }, { delayMs: 5 }])('are not shared by two of %j', (own) => {
    expect(idsOf(sharedTickets([ticket('a', own), ticket('b', own)], () => 10))).toEqual(['a', 'b']);
  });

  it('have each job once, none more than may run together, and each of them of its own kind', () => {
    const kinds = fc.record({
      name: fc.constantFrom('p', 'q', 'r'),
      queue: fc.constantFrom('k', 'l'),
      epoch: fc.nat(1),
      priority: fc.nat(1),
      delayMs: fc.constantFrom(0, 5),
      again: fc.nat(1),
    });
    const sizes = fc.record({ p: fc.integer({ min: 1, max: 5 }), q: fc.integer({ min: 1, max: 5 }), r: fc.constant(1) });
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 40 }), sizes, (all, sizeOf) => {
        const jobs = all.map((kind, i) => ({ id: `j${i}`, ...kind }));
        const shared = sharedTickets(jobs, (name) => sizeOf[name as 'p']);
        expect(shared.flatMap(({ id, others = [] }) => [id, ...others]).toSorted()).toEqual(jobs.map(({ id }) => id).toSorted());
        for (const { id, others = [] } of shared) {
          const [first, ...rest] = [id, ...others].map((each) => jobs[Number(each.slice(1))]!);
          expect(others.length).toBeLessThan(sizeOf[first!.name]);
          for (const other of rest) expect({ ...other, id }).toEqual({ ...first, epoch: 0, delayMs: 0 });
        }
      }),
    );
  });
});
