import { Body, Controller, Get, Injectable, type OnApplicationBootstrap, Param, Post } from '@nestjs/common';
import { Command, CommandBus, CommandHandler, EventBus, EventsHandler, type ICommandHandler, type IEventHandler, ofType, Query, QueryBus, QueryHandler, Saga } from '@nestjs/cqrs';
import { map, mergeMap, Observable, of } from 'rxjs';
import { Journal } from './journal.js';
import { SeatBooked, SeatReleased, BookSeat } from './seats.js';

// Payments: a saga in memory

export class ChargeGuest extends Command<void> {
  constructor(
    readonly guest: string,
    readonly amount: number,
  ) {
    super();
  }
}
export class GuestCharged {
  constructor(
    readonly guest: string,
    readonly amount: number,
  ) {}
}
export class InsolventGuest extends Error {}

@CommandHandler(ChargeGuest)
export class ChargeGuestHandler implements ICommandHandler<ChargeGuest> {
  constructor(
    private readonly events: EventBus,
    private readonly journal: Journal,
  ) {}
  async execute({ guest, amount }: ChargeGuest) {
    if (guest === 'insolvent') throw new InsolventGuest();
    this.journal.note(`charge ${guest} ${amount}`);
    await this.events.publish(new GuestCharged(guest, amount));
  }
}
@Injectable()
export class PaymentSagas {
  @Saga()
  booked = (events$: Observable<object>) =>
    events$.pipe(
      ofType(SeatBooked),
      mergeMap(({ guest }) => of(new ChargeGuest(guest, 10), new ChargeGuest(guest, 2))),
    );
  @Saga()
  released(events$: Observable<object>) {
    return events$.pipe(
      ofType(SeatReleased),
      map(({ seat }): ChargeGuest => {
        if (seat === 'broken') throw new Error(`${seat} breaks the saga`);
        return new ChargeGuest(`guest-of-${seat}`, -10);
      }),
    );
  }
}

// The board: a read model in memory, queries

@Injectable()
export class Board {
  readonly taken = new Set<string>();
}
export class SeatsTaken extends Query<string[]> {}
export class WatchSeats extends Query<Observable<string>> {}

@EventsHandler(SeatBooked, SeatReleased)
export class BoardUpdater implements IEventHandler<SeatBooked | SeatReleased> {
  constructor(
    private readonly board: Board,
    private readonly journal: Journal,
  ) {}
  handle(event: SeatBooked | SeatReleased) {
    if (event.seat === 'unlucky') throw new Error('13');
    if (event instanceof SeatBooked) this.board.taken.add(event.seat);
    else this.board.taken.delete(event.seat);
    this.journal.note(`board ${event.constructor.name} ${event.seat}`);
  }
}
@EventsHandler(GuestCharged)
export class Ledger implements IEventHandler<GuestCharged> {
  constructor(private readonly journal: Journal) {}
  async handle({ guest, amount }: GuestCharged) {
    if (guest === 'unlucky') throw new TypeError('no ledger');
    this.journal.note(`ledger ${guest} ${amount}`);
  }
}
@QueryHandler(SeatsTaken)
export class SeatsTakenHandler {
  constructor(private readonly board: Board) {}
  async execute() {
    return [...this.board.taken].sort();
  }
}
@QueryHandler(WatchSeats)
export class WatchSeatsHandler {
  constructor(private readonly board: Board) {}
  async execute() {
    return of(...this.board.taken);
  }
}

@Controller('seats')
export class SeatsController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
  ) {}
  @Post(':seat')
  book(@Param('seat') seat: string, @Body('guest') guest: string) {
    return this.commands.execute(new BookSeat(seat, guest));
  }
  @Get()
  taken() {
    return this.queries.execute(new SeatsTaken());
  }
}

/** Reads and writes as soon as the application is up. */
@Injectable()
export class HouseSeats implements OnApplicationBootstrap {
  constructor(
    private readonly commands: CommandBus,
    private readonly journal: Journal,
  ) {}
  async onApplicationBootstrap() {
    await this.commands.execute(new BookSeat('house', 'house'));
    this.journal.note('open');
  }
}
