/** What must not compile: `tsc` in `npm run check` fails when one of these lines stops being an error. */
import { describe, expect, it } from 'vitest';
import { DomainEvent } from './domain-event.js';
import type { EventMetadata } from './event-log.js';
import { On, onMarks } from './on.js';

@DomainEvent('types.placed', { version: 1, stream: (e) => ['order', e.orderId] })
class Placed {
  constructor(readonly orderId: string) {}
}
@DomainEvent('types.cancelled', { version: 1, stream: (e) => ['order', e.orderId] })
class Cancelled {
  constructor(
    readonly orderId: string,
    readonly reason: string,
  ) {}
}
class OrderView {
  id!: string;
  status!: string;
}

// @ts-expect-error -- the member is misspelt
@DomainEvent('types.misspelt', { version: 1, stream: (e) => ['order', e.orderIdd] })
class Misspelt {
  constructor(readonly orderId: string) {}
}

// @ts-expect-error -- a stream's id is a string
@DomainEvent('types.numbered', { version: 1, stream: (e) => ['order', e.orderId] })
class Numbered {
  constructor(readonly orderId: number) {}
}

class Marked {
  @On(Placed)
  whole(_event: Placed, _metadata: EventMetadata) {}

  @On(Placed)
  eventOnly(_event: Placed) {}

  @On(Placed)
  nothing() {}

  @On(Placed)
  row(_view: OrderView, _event: Placed, _metadata: EventMetadata) {}

  @On(Placed, { whenMissing: 'fail' })
  rowOnly(_view: OrderView) {}

  @On(Placed, { key: (e) => e.orderId })
  keyed(_view: OrderView, _event: Placed) {}

  // @ts-expect-error -- the method takes another event
  @On(Placed)
  otherEvent(_event: Cancelled) {}

  // @ts-expect-error -- the method takes another event behind its row
  @On(Placed, { whenMissing: 'fail' })
  otherEventOfRow(_view: OrderView, _event: Cancelled) {}

  // @ts-expect-error -- the key reads a member that the event does not have
  @On(Placed, { key: (e) => e.orderIdd })
  misspeltKey(_view: OrderView, _event: Placed) {}

  // @ts-expect-error -- there is no such way to treat a missing row
  @On(Placed, { whenMissing: 'explode' })
  badOption(_view: OrderView, _event: Placed) {}
}

describe('the types of @DomainEvent and @On', () => {
  it('accept what is right; what is wrong above does not compile', () => {
    expect(onMarks(Marked).map(({ method }) => method)).toEqual(expect.arrayContaining(['whole', 'eventOnly', 'nothing', 'row', 'rowOnly', 'keyed']));
    expect(new Misspelt('a').orderId + String(new Numbered(1).orderId)).toBe('a1');
  });
});
