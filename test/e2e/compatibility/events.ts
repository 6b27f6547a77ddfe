import { AggregateRoot, EventPublisher, type ICommand, type IEvent, ofType, Publishable, UnhandledExceptionBus, WithAggregateRoot } from '@nestjs/cqrs';
import { map } from 'rxjs';
import { vi } from 'vitest';
import type { Running } from './both.js';
import { ChargeGuest, GuestCharged, InsolventGuest, SeatsTaken } from './guests.js';
import { BookBox, BookSeat, ReleaseSeat, Seat, SeatBooked, SeatReleased } from './seats.js';
import { Inside, Noted, outcome } from './oddities.js';
import { lines, type Suite } from './suite.js';

class Named {
  constructor(readonly name: string) {}
}
class Mixed extends WithAggregateRoot(Named) {}

/** Each application takes for itself what was marked before it started. */
class Posters extends AggregateRoot {
  hang(name: string): void {
    this.apply(new Noted(name));
  }
}
export const newPoster = (): typeof Posters => {
  class Poster extends Posters {}
  Publishable()(Poster);
  return Poster;
};

export function eventsAndAggregates({ same, differs }: Suite): void {
  same(
    'events of a command reach their handlers in all modules, and its sagas',
    ['board SeatBooked e1', 'charge ian 10', 'charge ian 2', 'ledger ian 10', 'ledger ian 2'],
    async (run) => {
      await run.commands.execute(new BookSeat('e1', 'ian'));
      return [...(await lines(run, 'e1', 1)), ...(await lines(run, 'ian', 4)).toSorted()];
    },
  );

  same('what an event handler does at once is done when the command is', true, async ({ commands, queries }) => {
    await commands.execute(new BookSeat('e2', 'ivo'));
    return (await queries.execute(new SeatsTaken())).includes('e2');
  });

  same('an event of a class without a handler goes to those of the class that it extends', ['board BoxBooked e3'], async (run) => {
    await run.commands.execute(new BookBox('e0', 'jan'));
    void run.events.publish(new (class BoxBooked extends SeatBooked {})('e3', 'jay'));
    return lines(run, 'e3', 1);
  });

  same('a list of events goes to handlers and sagas in its order', ['board SeatBooked e4', 'board SeatReleased e4', 'charge kai 10', 'charge kai 2'], async (run) => {
    run.events.publishAll([new SeatBooked('e4', 'kai'), new SeatReleased('e4')]);
    return [...(await lines(run, 'e4', 2)), ...(await lines(run, 'kai', 4)).filter((line) => line.startsWith('charge'))];
  });

  same('a command that a saga sends in vain is reported with its exception', [true, true], async (run) => {
    await run.commands.execute(new BookSeat('e5', 'insolvent'));
    const reported = await unhandled(run, ({ exception }) => exception instanceof InsolventGuest, 2);
    return reported.map(({ cause }) => cause instanceof ChargeGuest);
  });

  same('an event handler that throws or rejects is reported with its event, and its command is done', ['done', ['13', true], ['no ledger', true]], async (run) => {
    const [booked, charged] = [new SeatBooked('unlucky', 'lea'), new GuestCharged('unlucky', 1)];
    const done = await outcome(run.commands.execute(new Inside(({ events }) => void events.publishAll([booked, charged]))));
    const reported = await Promise.all([unhandled(run, ({ cause }) => cause === booked, 1), unhandled(run, ({ cause }) => cause === charged, 1)]);
    return [done, ...reported.map(([info]) => [(info!.exception as Error).message, info!.exception instanceof (info!.cause === booked ? Error : TypeError)])];
  });

  same('what is unhandled can be chosen by the class of its exception', ['no ledger'], async (run) => {
    const seen: string[] = [];
    const subscription = run.app
      .get<UnhandledExceptionBus<ICommand>>(UnhandledExceptionBus)
      .pipe(UnhandledExceptionBus.ofType(TypeError))
      .subscribe(({ exception }) => void seen.push((exception as Error).message));
    run.events.publishAll([new SeatBooked('unlucky', 'lou'), new GuestCharged('unlucky', 2)]);
    await vi.waitFor(() => seen.length > 0 || Promise.reject(new Error('nothing yet')));
    subscription.unsubscribe();
    return seen;
  });

  same('whoever subscribes to the event bus sees its events, by class where asked', ['SeatReleased', 'mia'], async (run) => {
    const seen: string[] = [];
    const all = run.events.pipe(ofType(SeatReleased)).subscribe((event) => void seen.push(event.constructor.name));
    const booked = run.events
      .pipe(
        ofType(GuestCharged),
        map(({ guest }) => guest),
      )
      .subscribe((guest) => void (guest === 'mia' && seen.push(guest)));
    run.events.publishAll([new SeatReleased('e6'), new GuestCharged('mia', 3)]);
    all.unsubscribe();
    booked.unsubscribe();
    await lines(run, 'mia', 1);
    return seen;
  });

  same('an aggregate keeps, drops and commits its events', [1, 0, 2, undefined, 0, 'nia'], async (run) => {
    let seen: unknown[] = [];
    await run.commands.execute(
      new Inside(() => {
        const seat = run.app.get(EventPublisher).mergeObjectContext(new Seat('a1'));
        seat.book('dropped');
        const kept = seat.getUncommittedEvents().length;
        seat.uncommit();
        const dropped = seat.getUncommittedEvents().length;
        seat.release();
        seat.book('nia');
        seen = [kept, dropped, seat.getUncommittedEvents().length, seat.commit(), seat.getUncommittedEvents().length, seat.guest];
      }),
    );
    await lines(run, 'nia', 4);
    return seen;
  });

  same(
    'an aggregate that is merged by its class, commits by itself, or has another base class publishes',
    ['board SeatBooked a2', 'board SeatReleased a2', 'board SeatBooked a3', 'board SeatBooked a4'],
    async (run) => {
      const publisher = run.app.get(EventPublisher);
      await run.commands.execute(
        new Inside(() => {
          const byClass = new (publisher.mergeClassContext(Seat))('a2');
          byClass.autoCommit = true;
          byClass.book('ole');
          byClass.release();
          const history = publisher.mergeObjectContext(new Seat('a3'));
          history.loadFromHistory([new SeatBooked('a3', 'history'), new SeatReleased('a3')]);
          history.book('ole');
          history.commit();
          const mixed = publisher.mergeObjectContext(new Mixed('a4'));
          mixed.apply(new SeatBooked(mixed.name, 'ole'), { skipHandler: true });
          mixed.commit();
        }),
      );
      return [...(await lines(run, 'a2', 2)), ...(await lines(run, 'a3', 1)), ...(await lines(run, 'a4', 1))];
    },
  );

  const ownPoster = { extra: { providers: [{ provide: 'POSTER', useFactory: newPoster }] } };
  same(
    'an aggregate that is @Publishable publishes on the bus of the application that starts next',
    ['noted poster, trace undefined'],
    async (run) => {
      const poster = new (run.app.get<typeof Posters>('POSTER'))();
      poster.hang('poster');
      poster.commit();
      return lines(run, 'poster', 1);
    },
    ownPoster,
  );

  same(
    'a saga that throws ends and is reported by its name, while others go on',
    ['broken breaks the saga', ['charge pia 10', 'charge pia 2'], []],
    async (run) => {
      void run.events.publish(new SeatReleased('broken'));
      const [info] = await unhandled(run, ({ cause }) => cause === 'released', 1);
      void run.events.publish(new SeatReleased('b3'));
      await run.commands.execute(new BookSeat('b4', 'pia'));
      const charged = (await lines(run, 'pia', 4)).filter((line) => line.startsWith('charge'));
      return [(info!.exception as Error).message, charged, run.journal.filter((line) => line.includes('guest-of-b3'))];
    },
    {},
  );

  differs('Events of a command reach handlers and sagas after its COMMIT', { cqrs: [true, 'handler'], tandem: ['handler', true], optIn: [true, 'handler'] }, async (run) => {
    const seen: unknown[] = [];
    const subscription = run.events.pipe(ofType(Noted)).subscribe(() => void seen.push(true));
    await run.commands.execute(
      new Inside(({ events }) => {
        void events.publish(new Noted('after'));
        seen.push('handler');
      }),
    );
    subscription.unsubscribe();
    return seen;
  });

  differs('Events of a command that fails reach nobody', { cqrs: ['failed', 'sentinel'], tandem: ['sentinel'], optIn: ['failed', 'sentinel'] }, async (run) => {
    const seen: string[] = [];
    const subscription = run.events.pipe(ofType(Noted)).subscribe(({ name }) => void seen.push(name));
    const failing = new Inside(({ events }) => {
      void events.publish(new Noted('failed'));
      throw new Error('too late');
    });
    await outcome(run.commands.execute(failing));
    void run.events.publish(new Noted('sentinel'));
    subscription.unsubscribe();
    return seen;
  });

  const answering = { cqrs: { eventPublisher: { publish: (event: IEvent) => `sent ${event.constructor.name}` } } };
  differs(
    'Inside of a command `publish` does not answer with what the publisher answers',
    { cqrs: ['sent Noted', ['sent Noted'], 'sent Noted'], tandem: [undefined, [undefined], 'sent Noted'], optIn: ['sent Noted', ['sent Noted'], 'sent Noted'] },
    async (run) => {
      let inside: unknown[] = [];
      await run.commands.execute(new Inside(({ events }) => void (inside = [events.publish(new Noted('a')), events.publishAll([new Noted('b')])])));
      return [...inside, run.events.publish(new Noted('c'))];
    },
    answering,
  );

  same('a command may publish what a query reads right after it', 'done', async ({ commands }) => outcome(commands.execute(new ReleaseSeat('never booked'))));
}

type Info = Running['unhandled'][number];

async function unhandled(run: Running, chosen: (info: Info) => boolean, count: number): Promise<Info[]> {
  await vi.waitFor(() => run.unhandled.filter(chosen).length >= count || Promise.reject(new Error('not reported yet')), { timeout: 20_000, interval: 5 });
  return run.unhandled.filter(chosen);
}
