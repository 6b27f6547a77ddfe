/** What must not compile: `tsc` in `npm run check` fails when one of these lines stops being an error. */
import { expect, it } from 'vitest';
import { QueuedCommand, queuedCommandOf } from './queued-command.js';

@QueuedCommand('types.ship', { queue: 'orders', effect: 'sql', sequenceBy: (command) => command.orderId })
class Ship {
  constructor(readonly orderId: string) {}
}

// @ts-expect-error -- the member is misspelt
@QueuedCommand('types.misspelt', { queue: 'orders', effect: 'sql', sequenceBy: (command) => command.orderIdd })
class Misspelt {
  constructor(readonly orderId: string) {}
}

// @ts-expect-error -- a key is a string
@QueuedCommand('types.numbered', { queue: 'orders', effect: 'sql', sequenceBy: (command) => command.orderId })
class Numbered {
  constructor(readonly orderId: number) {}
}

it('knows the key of a command', () => {
  expect(queuedCommandOf(Ship)!.sequenceBy!(new Ship('17'))).toBe('17');
  expect([Misspelt, Numbered].map((command) => queuedCommandOf(command)!.queue)).toEqual(['orders', 'orders']);
});
