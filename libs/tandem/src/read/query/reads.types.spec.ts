/** What must not compile. `tsc` is the test: an error that is expected and does not come fails the type-check. */
import { describe, expect, it } from 'vitest';
import { Reads, readsOf } from './reads.js';

class OrderView {
  constructor(readonly orderId: string) {}
}
class UserView {}

@Reads(OrderView, UserView)
class ReadsBoth {}

// @ts-expect-error a name instead of the class
@Reads('OrderView')
class ReadsName {}

// @ts-expect-error an instance instead of the class
@Reads(new OrderView('17'))
class ReadsInstance {}

// @ts-expect-error a function instead of the class
@Reads(() => OrderView)
class ReadsLater {}

// @ts-expect-error a list instead of its elements
@Reads([OrderView, UserView])
class ReadsList {}

class OnMethod {
  // @ts-expect-error it belongs on the handler's class
  @Reads(OrderView)
  execute() {}
}

describe('@Reads', () => {
  it('takes the classes of read entities, on a class', () => {
    expect(readsOf(ReadsBoth)).toEqual([OrderView, UserView]);
    expect([ReadsName, ReadsInstance, ReadsLater, ReadsList, OnMethod]).toHaveLength(5);
  });
});
