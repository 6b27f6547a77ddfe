/**
 * A small application as people write it for @nestjs/cqrs alone: nothing in it knows Tandem. Only which CqrsModule it imports is left open,
 * so the same classes run on both.
 */
import { type DynamicModule, Global, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import { ChargeGuestHandler, PaymentSagas, Board, BoardUpdater, Ledger, SeatsTakenHandler, WatchSeatsHandler, SeatsController, HouseSeats } from './guests.js';
import { Journal } from './journal.js';
import { Seats, BookSeatHandler, ReleaseSeatHandler, BookRowHandler } from './seats.js';
import { Printer, PrintTicketHandler, TicketPrintedHandler, PrinterNumberHandler } from './tickets.js';

type Imports = (Type<object> | DynamicModule)[];

export interface CqrsImports {
  /** In place of `CqrsModule` in the root module. */
  readonly root: Imports;
  /** In place of `CqrsModule` in each feature module. */
  readonly feature: Imports;
}

@Global()
@Module({ providers: [Journal], exports: [Journal] })
class JournalModule {}

/** The application's module. Classes of modules are made anew, so that each application has its own. */
export function cinema({ root, feature }: CqrsImports, extra: Pick<ModuleMetadata, 'providers' | 'controllers' | 'imports'> = {}): new () => object {
  @Module({ imports: feature, providers: [Seats, BookSeatHandler, ReleaseSeatHandler, BookRowHandler, HouseSeats], controllers: [SeatsController] })
  class SeatsModule {}
  @Module({ imports: feature, providers: [ChargeGuestHandler, PaymentSagas] })
  class PaymentsModule {}
  @Module({ imports: feature, providers: [Board, BoardUpdater, Ledger, SeatsTakenHandler, WatchSeatsHandler] })
  class BoardModule {}
  @Module({ imports: feature, providers: [Printer, PrintTicketHandler, TicketPrintedHandler, PrinterNumberHandler], exports: feature })
  class TicketsModule {}
  @Module({
    imports: [JournalModule, ...root, SeatsModule, PaymentsModule, BoardModule, TicketsModule, ...(extra.imports ?? [])],
    providers: extra.providers,
    controllers: extra.controllers,
  })
  class CinemaModule {}
  return CinemaModule;
}
