import { type DynamicModule, Injectable, Module, Scope, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus, CommandHandler, CqrsModule, EventsHandler, InvalidSagaException, QueryBus, QueryHandler, Saga, UnsupportedSagaScopeException } from '@nestjs/cqrs';
import { SeatsTaken } from './guests.js';
import { BookSeat, SeatBooked } from './seats.js';
import type { Observable } from 'rxjs';
import type { Suite } from './suite.js';

@CommandHandler(BookSeat)
class Handler {
  async execute(): Promise<void> {}
}
@CommandHandler(BookSeat)
class SecondHandler {
  async execute(): Promise<void> {}
}
@CommandHandler(BookSeat)
class ReadingHandler {
  constructor(readonly queries: QueryBus) {}
  async execute(): Promise<void> {}
}
@QueryHandler(SeatsTaken)
class WritingHandler {
  constructor(readonly commands: CommandBus) {}
  async execute(): Promise<void> {}
}
@QueryHandler(BookSeat)
class QueryToo {
  async execute(): Promise<void> {}
}
@CommandHandler(BookSeat)
class EmptyHandler {}
@EventsHandler(SeatBooked)
class EmptyEventsHandler {}

@Injectable({ scope: Scope.REQUEST })
class RequestScopedSaga {
  @Saga()
  saga = (events$: Observable<object>) => events$;
}
@Injectable()
class NoSaga {
  @Saga()
  saga = () => 'no Observable';
}

/** What is wrong at the start is told there, naming both parties; `wiringErrors: 'warn'` only reports it. */
export function refusals({ side, same, differs }: Suite): void {
  const begin = async (providers: Type[], imports: (Type | DynamicModule)[] = []): Promise<unknown> => {
    const { root, feature } = side.imports({});
    @Module({ imports: [...feature, ...imports], providers })
    class SeatsModule {}
    @Module({ imports: [...root, SeatsModule] })
    class CinemaModule {}
    try {
      const app = await NestFactory.createApplicationContext(CinemaModule, { logger: false, abortOnError: false });
      await app.close();
      return 'starts';
    } catch (error) {
      return (error as { data?: { problems?: string[] } }).data?.problems?.[0] ?? (error as Error).message;
    }
  };

  differs(
    'A second CqrsModule refuses the start',
    { cqrs: 'starts', tandem: 'SeatsModule imports CqrsModule beside TandemModule: its buses would bypass Tandem (import TandemModule in its place, or nothing: it is global)' },
    () => begin([], [CqrsModule.forRoot()]),
  );
  differs(
    'Two handlers for one command or query refuse the start',
    { cqrs: 'starts', tandem: 'BookSeat is handled by both Handler (SeatsModule) and SecondHandler (SeatsModule)' },
    () => begin([Handler, SecondHandler]),
  );
  differs(
    'One class that is a command and a query refuses the start',
    { cqrs: 'starts', tandem: 'BookSeat is handled as a command by Handler (SeatsModule) and as a query by QueryToo (SeatsModule)' },
    () => begin([Handler, QueryToo]),
  );
  differs(
    'A command handler that injects `QueryBus` refuses the start',
    { cqrs: 'starts', tandem: 'ReadingHandler (SeatsModule) handles a command and injects QueryBus: the read side may be behind' },
    () => begin([ReadingHandler]),
  );
  differs(
    'A query handler that injects `CommandBus` refuses the start',
    { cqrs: 'starts', tandem: 'WritingHandler (SeatsModule) handles a query and injects CommandBus: a query changes nothing' },
    () => begin([WritingHandler]),
  );
  differs(
    'An events handler without `handle` refuses the start',
    { cqrs: 'starts', tandem: 'EmptyEventsHandler (SeatsModule) handles SeatBooked but has no method `handle`' },
    () => begin([EmptyEventsHandler]),
  );
  differs(
    'A command or query handler without `execute` is refused with its name',
    {
      cqrs: "An invalid command handler has been provided. Please ensure that the provided handler is a class annotated with @CommandHandler and contains an 'execute' method.",
      tandem: 'EmptyHandler (SeatsModule) handles BookSeat but has no method `execute`',
    },
    () => begin([EmptyHandler]),
  );

  same('a request-scoped saga refuses the start', new UnsupportedSagaScopeException().message, () => begin([RequestScopedSaga]));
  same('a saga that is no Observable refuses the start', new InvalidSagaException().message, () => begin([NoSaga]));
}
