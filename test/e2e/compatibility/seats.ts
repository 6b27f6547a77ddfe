import { ConflictException, Injectable } from '@nestjs/common';
import { AggregateRoot, Command, CommandBus, CommandHandler, EventBus, EventPublisher, type ICommandHandler } from '@nestjs/cqrs';

// Seats: an aggregate, two commands

export class SeatBooked {
  constructor(
    readonly seat: string,
    readonly guest: string,
  ) {}
}
/** Has no handler of its own. */
export class BoxBooked extends SeatBooked {}
export class SeatReleased {
  constructor(readonly seat: string) {}
}

export class Seat extends AggregateRoot {
  guest: string | undefined;
  constructor(readonly id: string) {
    super();
  }
  book(guest: string): void {
    if (this.guest !== undefined) throw new ConflictException(`${this.id} is taken`);
    this.apply(new SeatBooked(this.id, guest));
  }
  release(): void {
    this.apply(new SeatReleased(this.id));
  }
  onSeatBooked({ guest }: SeatBooked): void {
    this.guest = guest;
  }
  onSeatReleased(): void {
    this.guest = undefined;
  }
}

@Injectable()
export class Seats {
  private readonly byId = new Map<string, Seat>();
  find(id: string): Seat {
    const seat = this.byId.get(id) ?? new Seat(id);
    this.byId.set(id, seat);
    return seat;
  }
}

export class BookSeat extends Command<{ readonly seat: string; readonly guest: string }> {
  constructor(
    readonly seat: string,
    readonly guest: string,
  ) {
    super();
  }
}
/** Goes to BookSeat's handler. */
export class BookBox extends BookSeat {}
export class ReleaseSeat extends Command<void> {
  constructor(readonly seat: string) {
    super();
  }
}
export class BookRow extends Command<string[]> {
  constructor(
    readonly seats: readonly string[],
    readonly guest: string,
  ) {
    super();
  }
}

@CommandHandler(BookSeat)
export class BookSeatHandler implements ICommandHandler<BookSeat> {
  constructor(
    private readonly seats: Seats,
    private readonly publisher: EventPublisher,
  ) {}
  async execute({ seat: id, guest }: BookSeat) {
    const seat = this.publisher.mergeObjectContext(this.seats.find(id));
    seat.book(guest);
    seat.commit();
    return { seat: id, guest };
  }
}
@CommandHandler(ReleaseSeat)
export class ReleaseSeatHandler implements ICommandHandler<ReleaseSeat> {
  constructor(
    private readonly seats: Seats,
    private readonly events: EventBus,
  ) {}
  async execute({ seat: id }: ReleaseSeat) {
    const seat = this.seats.find(id);
    seat.release();
    await this.events.publishAll(seat.getUncommittedEvents());
    seat.uncommit();
  }
}
@CommandHandler(BookRow)
export class BookRowHandler implements ICommandHandler<BookRow> {
  constructor(private readonly commands: CommandBus) {}
  async execute({ seats, guest }: BookRow) {
    const booked = await Promise.all(seats.map((seat) => this.commands.execute(new BookSeat(seat, guest))));
    return booked.map(({ seat }) => seat);
  }
}
