import { describe, expect, it } from 'vitest';
import { DomainEvent } from './domain-event.js';
import { On, onMarks } from './on.js';

@DomainEvent('on.placed', { version: 1, stream: (e) => ['order', e.orderId] })
class Placed {
  constructor(readonly orderId: string) {}
}
@DomainEvent('on.paid', { version: 1, stream: (e) => ['order', e.orderId] })
class Paid {
  constructor(readonly orderId: string) {}
}

class Base {
  @On(Placed, { whenMissing: 'fail' })
  marked(_row: object): void {}
  @On(Placed)
  inherited(): void {}
}
class Derived extends Base {
  @On(Placed, { whenMissing: 'ignore' })
  @On(Paid)
  override marked(_row: object): void {}
}

describe('the marks of a class', () => {
  it('count a method that a subclass marks again once, as the subclass marks it', () => {
    expect(onMarks(Derived).map(({ method, event, options }) => [method, event, options.whenMissing])).toEqual([
      ['marked', Paid, undefined],
      ['marked', Placed, 'ignore'],
      ['inherited', Placed, undefined],
    ]);
    expect(onMarks(Base)).toHaveLength(2);
  });
});
