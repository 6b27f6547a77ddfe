/**
 * The way of one queue's tickets into BullMQ. One add is under way at a time; what comes meanwhile goes with the next one. BullMQ
 * gets about `maxQueuedTickets` of them, and nothing is kept of those beyond: SQL has every job, and a worker's look hands over the
 * oldest when there is room. So neither a queue that nobody works off nor a queue server that does not answer uses growing memory.
 */
import type { Clock } from '../kernel/clock.js';
import type { JobTransport, NewTicket } from './job-transport.js';

/** Tickets that wait for the add that is under way, at most. */
const MAX_WAITING = 10_000;
/** In one add. */
const AT_ONCE = 1_000;
/** How often a full queue is looked at. */
const LOOK_EVERY_MS = 1_000;

export interface FlowPorts {
  readonly transport: JobTransport;
  readonly clock: Clock;
  readonly maxQueuedTickets: number;
  /** Told of each add: undefined, or why it failed. */
  readonly outcome: (error: unknown) => void;
}

export class TicketFlow {
  private waiting: NewTicket[] = [];
  private underWay: Promise<void> | undefined;
  private next: Promise<void> | undefined;
  private isFull = false;
  private lookAt = 0;
  /** How many may be added before the queue is looked at again: a look for each would be a round trip for each. */
  private left: number;
  private readonly step: number;

  constructor(
    private readonly queue: string,
    private readonly ports: FlowPorts,
  ) {
    this.step = Math.max(1, Math.floor(ports.maxQueuedTickets / 10));
    this.left = this.step;
  }

  /** Resolves when they are added, or left to SQL. */
  send(tickets: readonly NewTicket[]): Promise<void> {
    this.waiting.push(...tickets.slice(0, MAX_WAITING - this.waiting.length));
    if (this.next) return this.next;
    if (!this.underWay) return this.start();
    this.next = this.underWay.then(() => this.start());
    return this.next;
  }

  private start(): Promise<void> {
    const tickets = this.waiting;
    this.waiting = [];
    this.next = undefined;
    const run = this.addAll(tickets).finally(() => {
      if (this.underWay === run) this.underWay = undefined;
    });
    this.underWay = run;
    return run;
  }

  /** The oldest that are due, whatever else is full: the caller has looked. @throws what `JobTransport.add` throws. */
  async fill(tickets: readonly NewTicket[]): Promise<void> {
    for (let from = 0; from < tickets.length; from += AT_ONCE) await this.ports.transport.add(tickets.slice(from, from + AT_ONCE));
  }

  private async addAll(tickets: readonly NewTicket[]): Promise<void> {
    try {
      for (let from = 0; from < tickets.length; from += AT_ONCE) {
        const some = tickets.slice(from, from + AT_ONCE);
        const room = await this.roomFor(some.length);
        if (room === 0) return;
        await this.ports.transport.add(some.slice(0, room));
        this.ports.outcome(undefined);
      }
    } catch (error) {
      this.ports.outcome(error);
    }
  }

  private async roomFor(wanted: number): Promise<number> {
    if (this.left < wanted) await this.look(wanted);
    const room = Math.min(wanted, this.left);
    this.left -= room;
    return room;
  }

  /** A queue that was full stays shut until it is nearly empty: what is older in SQL goes first, and a worker fills it up before. */
  private async look(wanted: number): Promise<void> {
    const { clock, maxQueuedTickets, transport } = this.ports;
    this.left = 0;
    if (this.isFull && clock.now() < this.lookAt) return;
    this.lookAt = clock.now() + LOOK_EVERY_MS;
    const queued = await transport.queued(this.queue);
    this.isFull = queued >= (this.isFull ? maxQueuedTickets / 8 : maxQueuedTickets);
    if (!this.isFull) this.left = Math.min(Math.max(this.step, wanted), maxQueuedTickets - queued);
  }
}
