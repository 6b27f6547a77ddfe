import { Inject, Injectable, Scope } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { AsyncContext, Command, CommandHandler, EventBus, EventsHandler, type ICommandHandler, type IEventHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { Journal } from './journal.js';

// Tickets: request scope

export class PrintTicket extends Command<number> {
  constructor(readonly seat: string) {
    super();
  }
}
export class TicketPrinted {
  constructor(readonly seat: string) {}
}
export class PrinterNumber extends Query<number> {}

@Injectable({ scope: Scope.REQUEST })
export class Printer {
  private static made = 0;
  readonly number = ++Printer.made;
  constructor(@Inject(REQUEST) readonly request: unknown) {}
}
@CommandHandler(PrintTicket, { scope: Scope.REQUEST })
export class PrintTicketHandler implements ICommandHandler<PrintTicket> {
  constructor(
    private readonly printer: Printer,
    private readonly events: EventBus,
    @Inject(REQUEST) private readonly context: AsyncContext,
  ) {}
  async execute({ seat }: PrintTicket) {
    await this.events.publish(new TicketPrinted(seat), this.context);
    return this.printer.number;
  }
}
@EventsHandler(TicketPrinted, { scope: Scope.REQUEST })
export class TicketPrintedHandler implements IEventHandler<TicketPrinted> {
  constructor(
    private readonly printer: Printer,
    private readonly journal: Journal,
  ) {}
  handle({ seat }: TicketPrinted) {
    this.journal.note(`printed ${seat} on ${this.printer.number}, request ${this.printer.request?.constructor.name}`);
  }
}
@QueryHandler(PrinterNumber)
export class PrinterNumberHandler {
  constructor(private readonly printer: Printer) {}
  async execute() {
    return this.printer.number;
  }
}
