import { ConflictException } from '@nestjs/common';
import { CommandHandlerNotFoundException, type ICommand, QueryHandlerNotFoundException } from '@nestjs/cqrs';
import { filter, isObservable, lastValueFrom, type Observable, toArray } from 'rxjs';
import { setTimeout as sleep } from 'node:timers/promises';
import supertest from 'supertest';
import { expect } from 'vitest';
import { SeatsTaken, WatchSeats } from './guests.js';
import { BookBox, BookRow, BookSeat } from './seats.js';
import { AnswerAtOnce, ByFactory, Caught, Inside, Noted, TheSame, Throw, traces, Unhandled, UnhandledQuery, Watched, Withheld, outcome } from './oddities.js';
import { lines, type Suite } from './suite.js';

export function commandsAndQueries({ same, differs }: Suite): void {
  same('a command answers with what its handler returned', { seat: 'c1', guest: 'ann' }, ({ commands }) => commands.execute(new BookSeat('c1', 'ann')));

  same('a query answers with the very object that its handler returned', true, async ({ queries }) => (await queries.execute(new TheSame())) === TheSame.answer);

  same('an Observable is an answer like any other', [true, true], async ({ commands, queries }) => {
    await commands.execute(new BookSeat('c2', 'bea'));
    const answer: Observable<string> = await queries.execute(new WatchSeats());
    return [isObservable(answer), (await lastValueFrom(answer.pipe(toArray()))).includes('c2')];
  });

  same('handlers of an application are called across its modules, several at once', [['r1', 'r2', 'r3'], true], async ({ commands, queries }) => {
    const booked = await commands.execute(new BookRow(['r1', 'r2', 'r3'], 'row'));
    return [booked, (await queries.execute(new SeatsTaken())).includes('r2')];
  });

  same('a command without a handler of its own goes to that of the class it extends', { seat: 'box', guest: 'cid' }, ({ commands }) => commands.execute(new BookBox('box', 'cid')));

  same('a handler that a factory made answers as well', 'made by a factory', ({ commands }) => commands.execute(new ByFactory()));

  same('what a handler throws arrives as it is, whatever it is', [true, true, true, true], async ({ commands }) => {
    const thrown = [new Error('plain'), new ConflictException('taken'), 'text', undefined];
    return Promise.all(
      thrown.map((what) =>
        commands.execute(new Throw(what)).then(
          () => false,
          (caught: unknown) => caught === what,
        ),
      ),
    );
  });

  same('a command that fails inside of another may be caught there', 'caught inside', ({ commands }) => commands.execute(new Caught()));

  same('a message without a handler is refused with the exception of @nestjs/cqrs', [true, true, true], async ({ commands, queries }) => [
    (await refusal(() => commands.execute(new Unhandled()))) instanceof CommandHandlerNotFoundException,
    (await refusal(() => queries.execute(new UnhandledQuery()))) instanceof QueryHandlerNotFoundException,
    // Its handler is not provided; that of the class that it extends is another one.
    (await refusal(() => commands.execute(new Withheld()))) instanceof CommandHandlerNotFoundException,
  ]);

  same('whoever subscribes to a bus sees its messages before their handlers', ['BookSeat', 'c4', 'SeatsTaken'], async ({ commands, queries }) => {
    const seen: unknown[] = [];
    const subscriptions = [
      commands.pipe(filter((command: ICommand) => command instanceof BookSeat)).subscribe((command) => void seen.push(command.constructor.name)),
      queries.subscribe((query) => void seen.push(query.constructor.name)),
    ];
    seen.push((await commands.execute(new BookSeat('c4', 'dan'))).seat);
    await queries.execute(new SeatsTaken());
    for (const subscription of subscriptions) subscription.unsubscribe();
    return seen;
  });

  same('the asynchronous context of the caller reaches handlers of commands and of events', ['caller', 'noted carried, trace caller'], async (run) => {
    const inHandler = await traces.run('caller', () =>
      run.commands.execute(
        new Inside(({ events }) => {
          void events.publish(new Noted('carried'));
          return traces.getStore();
        }),
      ),
    );
    return [inHandler, ...(await lines(run, 'carried', 1))];
  });

  same('HTTP answers with the same status and body', [201, { seat: 'h1', guest: 'fay' }, 409, 'h1 is taken'], async ({ app }) => {
    const http = supertest(app.getHttpServer() as never);
    const [booked, refused] = [await http.post('/seats/h1').send({ guest: 'fay' }), await http.post('/seats/h1').send({ guest: 'gil' })];
    return [booked.status, booked.body, refused.status, (refused.body as { message: string }).message];
  });

  differs('HTTP answers to writes carry the header `Consistency-Token`', { cqrs: undefined, tandem: expect.any(String) }, async ({ app }) => {
    const { headers } = await supertest(app.getHttpServer() as never)
      .post('/seats/h2')
      .send({ guest: 'hal' });
    return (headers as Record<string, unknown>)['consistency-token'];
  });

  differs(
    'A message without a handler has another error message, and never throws before there is a promise',
    {
      cqrs: ['thrown at once', 'No handler found for the command: "Unhandled".'],
      tandem: ['rejected', expect.stringContaining('There is no handler for the command Unhandled; the nearest that has one is')],
    },
    async ({ commands }) => {
      try {
        return await commands.execute(new Unhandled()).catch((error: Error) => ['rejected', error.message]);
      } catch (error) {
        return ['thrown at once', (error as Error).message];
      }
    },
  );

  differs('`execute` always answers with a promise', { cqrs: ['at once'], tandem: [expect.any(Promise)] }, async ({ commands }) => {
    const answer: unknown = commands.execute(new AnswerAtOnce());
    await answer;
    return [answer];
  });

  differs('A handler begins after `execute` or `publish` has returned', { cqrs: [true, true], tandem: [false, false] }, async (run) => {
    const [command, event] = [new AnswerAtOnce(), new Noted('begins')];
    const running = run.commands.execute(command);
    void run.events.publish(event);
    const begun = [command.begun, event.handled];
    await running;
    await lines(run, 'begins', 1);
    return begun;
  });

  differs('Guards, pipes and interceptors on handlers run', { cqrs: [], tandem: ['watched'] }, async (run) => {
    await run.commands.execute(new Watched());
    return run.journal.filter((line) => line === 'watched');
  });

  differs('Each message is logged', { cqrs: [], tandem: [expect.stringContaining('"type":"ByFactory"')] }, async ({ commands, logged }) => {
    logged.length = 0;
    await commands.execute(new ByFactory());
    return logged.filter((line) => line.includes('ByFactory'));
  });

  differs(
    'A unit of work ends with its command: later commands and queries are refused',
    { cqrs: ['at once', 'done'], tandem: ['TANDEM_UNIT_OF_WORK_CLOSED', 'TANDEM_UNIT_OF_WORK_CLOSED'], optIn: ['at once', 'done'] },
    async ({ commands }) => {
      let open!: () => void;
      const gate = new Promise<void>((resolve) => (open = resolve));
      let late!: Promise<unknown>;
      await commands.execute(
        new Inside((buses) => {
          late = gate.then(async () => [await outcome(buses.commands.execute(new AnswerAtOnce())), await outcome(buses.queries.execute(new SeatsTaken()).then(() => undefined))]);
        }),
      );
      open();
      return late;
    },
  );

  same('a command that is sent without waiting for it is handled', 'later', async ({ commands }) => {
    let inner!: Promise<unknown>;
    const slow = new Inside(async () => {
      await sleep(20);
      return 'later';
    });
    await commands.execute(new Inside((buses) => void (inner = outcome(buses.commands.execute(slow)))));
    return inner;
  });
}

async function refusal(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return error;
  }
}
