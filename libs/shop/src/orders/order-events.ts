import { DomainEvent } from 'nest-tandem';
import type { SalesDocument, SalesLine } from './sales-document.js';

@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.orderId] })
export class OrderPlaced {
  readonly orderId: string;
  readonly customerId: string | null;
  readonly country: string;
  /** ISO 8601, UTC. */
  readonly placedAt: string;
  readonly lines: readonly SalesLine[];
  readonly total: string;

  constructor(order: SalesDocument) {
    this.orderId = order.id;
    this.customerId = order.customerId;
    this.country = order.country;
    this.placedAt = order.at;
    this.lines = order.lines;
    this.total = order.total;
  }
}

/** Carries what it takes back, so that no sum needs to look the order up. */
@DomainEvent('order.cancelled', { version: 1, stream: (e) => ['order', e.orderId] })
export class OrderCancelled {
  constructor(
    readonly orderId: string,
    readonly customerId: string | null,
    readonly country: string,
    readonly total: string,
  ) {}
}

@DomainEvent('return.recorded', { version: 1, stream: (e) => ['return', e.returnId] })
export class ReturnRecorded {
  readonly returnId: string;
  readonly customerId: string | null;
  readonly country: string;
  /** ISO 8601, UTC. */
  readonly recordedAt: string;
  readonly lines: readonly SalesLine[];
  readonly total: string;

  constructor(document: SalesDocument) {
    this.returnId = document.id;
    this.customerId = document.customerId;
    this.country = document.country;
    this.recordedAt = document.at;
    this.lines = document.lines;
    this.total = document.total;
  }
}
