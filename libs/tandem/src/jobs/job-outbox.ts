import { Injectable, Logger } from '@nestjs/common';
import { Clock } from '../kernel/clock.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { EXTERNAL_QUEUE, ExternalJobs } from './external-jobs.js';
import { JobSettings } from './job-settings.js';
import { type DelayedTicket, JobStore, type NamedTicket, type NewJob } from './job-store.js';
import { JobTransport, type NewTicket } from './job-transport.js';
import { sharedTickets } from './shared-tickets.js';
import { TicketFlow } from './ticket-flow.js';

/** A ticket whose time is further away stays in SQL, where a worker's look finds it when it is due: BullMQ's memory is for what runs soon. */
const SENT_AHEAD_MS = 60_000;

/** Of a unit: what it has queued outside of sequences. */
const FREE = Symbol('tandem:free-jobs');

interface FreeJob {
  readonly ticket: DelayedTicket & NamedTicket;
  readonly batchSize: number;
}

/** Puts jobs into the unit's transaction, and into BullMQ after its COMMIT. */
@Injectable()
export class JobOutbox {
  private readonly logger = new Logger('Tandem');
  private readonly external: ExternalJobs;
  private away = false;
  private readonly flows = new Map<string, TicketFlow>();
  private handled: ReadonlySet<string> | undefined;
  private readonly warned = new Set<string>();

  constructor(
    private readonly store: JobStore,
    private readonly transport: JobTransport,
    private readonly clock: Clock,
    private readonly settings: JobSettings,
  ) {
    this.external = new ExternalJobs(store, transport, settings, (error) => this.outcome(error));
  }

  /** Tells the names of the queued commands that this application has handlers for; until then none is missed. */
  expect(names: Iterable<string>): void {
    this.handled = new Set(names);
  }

  /** Rows go in at once, those whose dedupe key exists are left out; returns the ids of the new ones. */
  async put(unit: Unit, jobs: readonly NewJob[]): Promise<readonly string[]> {
    if (jobs.length === 0) return [];
    for (const job of jobs) this.warnOfNoHandler(job);
    const tickets = await this.store.insert(unit, jobs);
    const byId = new Map(jobs.map((job) => [job.id, job]));
    const inserted = tickets.map((ticket) => ({ ticket, job: byId.get(ticket.id)! }));
    const free = inserted
      .filter(({ job }) => job.sequenceKey === null)
      .map(({ ticket, job: { batchSize = 1, delayMs, name, runAt } }) => ({ ticket: { ...ticket, name, delayMs: runAt ? this.until(runAt) : delayMs }, batchSize }));
    const sequences = [...new Set(inserted.flatMap(({ job }) => job.sequenceKey ?? []))];
    this.sendWith(unit, free);
    if (sequences.length > 0) unit.afterCommit(() => void this.release(sequences));
    return tickets.map(({ id }) => id);
  }

  /** Together, after COMMIT: what one unit has queued, in however many calls, may share tickets. */
  private sendWith(unit: Unit, jobs: readonly FreeJob[]): void {
    if (jobs.length === 0) return;
    const isFirst = unit.isEmpty(FREE);
    for (const job of jobs) unit.add(FREE, job);
    if (isFirst) unit.afterCommit(() => void this.sendFree(unit.listOf<FreeJob>(FREE)));
  }

  private sendFree(queued: readonly FreeJob[]): Promise<void> {
    const sizes = new Map(queued.map(({ batchSize, ticket }) => [ticket.name, batchSize]));
    const tickets = queued.map(({ ticket }) => ticket);
    return this.send(sharedTickets(tickets, (name) => sizes.get(name)!));
  }

  /** Not refused: another application on this database may have the handler. */
  private warnOfNoHandler({ name, queue }: NewJob): void {
    if (!this.handled || queue === EXTERNAL_QUEUE || this.handled.has(name) || this.warned.has(name)) return;
    this.warned.add(name);
    this.logger.warn(`"${name}" is queued, but no module here provides a handler for it: it waits in queue "${queue}" until a worker that has one takes it`);
  }

  /** The first job of each of these sequences is sent on its way. Never rejects: what is missed here, a worker's look finds. */
  async release(sequences: readonly string[]): Promise<void> {
    try {
      await this.send(await this.store.release(sequences));
    } catch (error) {
      this.logger.warn(`${sequences.length} sequences of jobs wait for the next look of a worker: ${String(error)}`);
    }
  }

  /** What was missed. */
  async releaseAll(): Promise<void> {
    await this.send(await this.store.release());
  }

  /** Never rejects: a ticket that is lost here is added by the reconciler. */
  async send(tickets: readonly NewTicket[]): Promise<void> {
    const soon = tickets.filter(({ delayMs = 0 }) => delayMs <= SENT_AHEAD_MS);
    const queues = [...new Set(soon.map(({ queue }) => queue))];
    await Promise.all(queues.map((queue) => this.sendTo(queue, queues.length === 1 ? soon : soon.filter((ticket) => ticket.queue === queue))));
  }

  private sendTo(queue: string, tickets: readonly NewTicket[]): Promise<void> {
    return queue === EXTERNAL_QUEUE ? this.external.send(tickets.filter(({ delayMs = 0 }) => delayMs === 0)) : this.flowOf(queue).send(tickets);
  }

  /** What is being handed over to queues of others ends; the rest is left to SQL. */
  stop(): Promise<void> {
    return this.external.stop();
  }

  private flowOf(queue: string): TicketFlow {
    let flow = this.flows.get(queue);
    if (!flow) {
      const { clock, transport } = this;
      flow = new TicketFlow(queue, { clock, transport, maxQueuedTickets: this.settings.maxQueuedTickets, outcome: (error) => this.outcome(error) });
      this.flows.set(queue, flow);
    }
    return flow;
  }

  /** Tickets of one queue that has room for them. @throws what `JobTransport.add` throws. */
  async fill(tickets: readonly NewTicket[]): Promise<void> {
    const [first] = tickets;
    if (!first) return;
    await this.flowOf(first.queue).fill(tickets);
    this.outcome(undefined);
  }

  /** Says once that the queue is away, or that it is not any more. */
  outcome(error: unknown): void {
    if (error !== undefined && !this.away) this.logger.warn(`Jobs wait in SQL until the queue is back: ${error instanceof Error ? error.message : JSON.stringify(error)}`);
    this.away = error !== undefined;
  }

  /** How long that is by the clock of this process. SQL has the time as it was named. */
  until(runAt: Date): number {
    return Math.max(0, runAt.getTime() - this.clock.now());
  }
}
