import type { Command, CommandBus, CommandResult, Query, QueryBus, QueryResult } from '@nestjs/cqrs';
import { describe, expectTypeOf, it } from 'vitest';
import { SeatsTaken } from './guests.js';
import { BookRow, BookSeat } from './seats.js';

/** Checked by the compiler: the bus that an application injects is the one of @nestjs/cqrs, whichever module brings it. */
describe('the result of a message', () => {
  it('has the type that its class says', () => {
    const typed = (commands: CommandBus, queries: QueryBus) => [commands.execute(new BookRow([], '')), queries.execute(new SeatsTaken())] as const;
    expectTypeOf<ReturnType<typeof typed>>().toEqualTypeOf<readonly [Promise<string[]>, Promise<string[]>]>();
    expectTypeOf<CommandResult<BookSeat>>().toEqualTypeOf<{ readonly seat: string; readonly guest: string }>();
    expectTypeOf<QueryResult<SeatsTaken>>().toEqualTypeOf<string[]>();
    expectTypeOf<BookSeat>().toExtend<Command<object>>();
    expectTypeOf<SeatsTaken>().toExtend<Query<string[]>>();
  });
});
