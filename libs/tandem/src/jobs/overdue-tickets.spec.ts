import { describe, expect, it } from 'vitest';
import { OverdueTickets } from './overdue-tickets.js';

const ticket = (id: string, epoch = 0) => ({ id, epoch, queue: 'mail' });

describe('OverdueTickets', () => {
  it('adds one more ticket for a run that is due 30 looks in a row, and then each time that it has waited twice as long', () => {
    const tickets = new OverdueTickets();
    const again = Array.from({ length: 250 }, () => tickets.counted([ticket('a')])[0]!.again);
    const changes = again.map((count, index) => [index + 1, count] as const).filter(([look, count]) => look > 1 && again[look - 2] !== count);
    expect(changes).toEqual([
      [30, 1],
      [60, 2],
      [120, 3],
      [240, 4],
    ]);
  });

  it('counts each run by itself, and anew for one that was not due in between', () => {
    const tickets = new OverdueTickets();
    for (let look = 1; look < 30; look++) tickets.counted([ticket('a'), ticket('b')]);
    tickets.counted([ticket('b', 1)]);
    expect(tickets.counted([ticket('a'), ticket('b', 1)]).map(({ again }) => again)).toEqual([0, 0]);
  });
});
