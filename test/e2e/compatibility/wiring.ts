import { AsyncContext, CommandBus, CommandHandler, CommandHandlerNotFoundException, type IEvent, type IMessageSource, UnhandledExceptionBus } from '@nestjs/cqrs';
import { config, Subject } from 'rxjs';
import { vi } from 'vitest';
import { BookSeat, BookSeatHandler, Seat, SeatBooked, Seats } from './seats.js';
import { PrinterNumber, PrintTicket, TicketPrinted } from './tickets.js';
import { AnswerAtOnce, Endings, Noted, outcome } from './oddities.js';
import { lines, type Suite } from './suite.js';

@CommandHandler(BookSeat)
class FakeHandler {
  async execute() {
    return 'fake';
  }
}
class FakeBus {
  readonly sent: string[] = [];
  register(): void {}
  async execute(command: object) {
    this.sent.push(command.constructor.name);
    return 'fake';
  }
}

export function requestScope({ same, differs }: Suite): void {
  same('a request-scoped handler is made for each command, and once for each context', [false, true, true], async ({ commands, queries }) => {
    const context = new AsyncContext();
    const numbers = [await commands.execute(new PrintTicket('s1')), await commands.execute(new PrintTicket('s1')), await commands.execute(new PrintTicket('s1'), context)];
    return [
      numbers[0] === numbers[1],
      (await commands.execute(new PrintTicket('s1'), context)) === numbers[2],
      (await queries.execute(new PrinterNumber(), context)) === numbers[2],
    ];
  });

  same('an event that is published with the context of its command shares what was made for it', true, async (run) => {
    const number = await run.commands.execute(new PrintTicket('s2'));
    return (await lines(run, 's2', 1))[0] === `printed s2 on ${number}, request AsyncContext`;
  });

  same('a command carries its context, which can be merged into another message', [true, true, true], async (run) => {
    const [first, second, context] = [new PrintTicket('s3'), new PrintTicket('s3'), new AsyncContext()];
    const number = await run.commands.execute(first, context);
    AsyncContext.merge(first, second);
    return [AsyncContext.of(first) === context, AsyncContext.isAttached(second), (await run.commands.execute(second)) === number];
  });

  differs('A request-scoped event handler always has an `AsyncContext` as its REQUEST', { cqrs: 'undefined', tandem: 'AsyncContext' }, async (run) => {
    void run.events.publish(new TicketPrinted('s4'));
    return (await lines(run, 's4', 1))[0]!.split('request ')[1];
  });

  differs('A query of a request-scoped handler carries its context too', { cqrs: false, tandem: true }, async ({ queries }) => {
    const query = new PrinterNumber();
    await queries.execute(query);
    return AsyncContext.isAttached(query);
  });

  differs(
    'A frozen command, or one that has another context, may go to a request-scoped handler',
    { cqrs: ['TypeError', 'TypeError'], tandem: ['done', 'done'] },
    async ({ commands }) => {
      const used = new PrintTicket('s5');
      await commands.execute(used);
      const answers = [outcome(commands.execute(Object.freeze(new PrintTicket('s5')))), outcome(commands.execute(used, new AsyncContext()))];
      return (await Promise.all(answers)).map((answer) => (typeof answer === 'number' ? 'done' : answer));
    },
  );
}

export function options({ same }: Suite): void {
  for (const byFactory of [false, true]) {
    const sent: string[] = [];
    const note = (bus: string) => (message: object, dispatcher?: unknown, context?: unknown) =>
      void sent.push([bus, message.constructor.name, dispatcher?.constructor.name, context?.constructor.name].filter(Boolean).join(' '));
    const publishers = {
      commandPublisher: { publish: note('command') },
      queryPublisher: { publish: note('query') },
      eventPublisher: {
        publish: note('event'),
        publishAll: (events: object[], dispatcher?: unknown, context?: unknown) => events.forEach((event) => note('events')(event, dispatcher, context)),
      },
      unhandledExceptionPublisher: { publish: ({ exception }: { exception: unknown }) => void sent.push(`unhandled ${String(exception)}`) },
    };
    same(
      `publishers of the application's own get every message, with its dispatcher and context${byFactory ? ', also from forRootAsync' : ''}`,
      ['command BookSeat', 'events SeatBooked Seat', 'query PrinterNumber', 'event Noted Object AsyncContext', 'unhandled x'],
      async ({ app, commands, events, queries }) => {
        sent.length = 0;
        await commands.execute(new BookSeat('o1', 'ann'));
        await queries.execute(new PrinterNumber());
        void events.publish(new Noted('o1'), {}, new AsyncContext());
        app.get(UnhandledExceptionBus).publish({ cause: new Noted('o1'), exception: 'x' });
        return sent;
      },
      { cqrs: publishers, byFactory },
    );
  }

  same(
    'a publisher that is set later may bring events from elsewhere',
    ['noted bridged, trace undefined'],
    async (run) => {
      const elsewhere = new Subject<IEvent>();
      const source: IMessageSource = { bridgeEventsTo: (subject) => void elsewhere.subscribe(subject as unknown as Subject<IEvent>) };
      run.events.publisher = { publish: (event) => elsewhere.next(event) };
      source.bridgeEventsTo(run.events.subject$);
      void run.events.publish(new Noted('bridged'));
      return lines(run, 'bridged', 1);
    },
    {},
  );

  same(
    'a provider of event ids decides which handlers an event has',
    ['noted by-name, trace undefined'],
    async (run) => {
      void run.events.publish(Object.assign(new (class Noted {})(), { name: 'by-name' }));
      return lines(run, 'by-name', 1);
    },
    { cqrs: { eventIdProvider: { getEventId: (event) => event.name } } },
  );

  same(
    'exceptions are thrown on where `rethrowUnhandled` says so',
    ['13', 0],
    async (run) => {
      const thrown: string[] = [];
      config.onUnhandledError = (error: Error) => void thrown.push(error.message);
      try {
        void run.events.publish(new SeatBooked('unlucky', 'zoe'));
        await vi.waitFor(() => thrown.length > 0 || Promise.reject(new Error('not thrown yet')), { timeout: 20_000 });
      } finally {
        config.onUnhandledError = null;
      }
      return [thrown[0], run.unhandled.length];
    },
    { cqrs: { rethrowUnhandled: true } },
  );
}

export function lifeAndTests({ same }: Suite): void {
  const early: unknown[] = [];
  same(
    'handlers are there when the application has started, and for whoever starts with it',
    [true, 'board SeatBooked house', true],
    async (run) => [early[0] instanceof CommandHandlerNotFoundException, ...(await lines(run, 'house', 1)).slice(0, 1), run.journal.includes('open')],
    {
      beforeInit: async ({ commands }) => {
        early.length = 0;
        try {
          early.push(await commands.execute(new AnswerAtOnce()).catch((error: unknown) => error));
        } catch (error) {
          early.push(error);
        }
      },
    },
  );

  const fakeSeats = {
    find: () =>
      new (class extends Seat {
        override book() {
          this.apply(new Noted('faked'));
        }
      })('fake'),
  };
  same(
    'a test overrides a provider',
    ['noted faked, trace undefined'],
    async (run) => {
      await run.commands.execute(new BookSeat('t1', 'ann'));
      return lines(run, 'faked', 1).then((found) => found.slice(0, 1));
    },
    { change: (builder) => builder.overrideProvider(Seats).useValue(fakeSeats) },
  );

  same('a test overrides a handler by a class that is a handler too', 'fake', ({ commands }) => commands.execute(new BookSeat('t2', 'ann')), {
    change: (builder) => builder.overrideProvider(BookSeatHandler).useClass(FakeHandler),
  });

  same(
    'a test overrides a bus',
    ['fake', ['BookSeat', 'PrintTicket']],
    async ({ app, commands }) => {
      const answer = await commands.execute(new PrintTicket('t3'));
      return [answer, app.get<{ sent: unknown[] }>(CommandBus).sent];
    },
    { change: (builder) => builder.overrideProvider(CommandBus).useValue(new FakeBus()) },
  );

  same('a spy on a handler is called', ['spied', 1], async ({ app, commands }) => {
    const spy = vi.spyOn(app.get(BookSeatHandler), 'execute').mockResolvedValue('spied' as never);
    const answer = await commands.execute(new BookSeat('t4', 'ann'));
    spy.mockRestore();
    return [answer, 1];
  });

  // The last of all: it closes the application that the others share.
  same('commands are taken until the application has closed', ['at once', 'at once', 'at once'], async ({ app }) => {
    await app.close();
    return app.get(Endings).answers;
  });
}
