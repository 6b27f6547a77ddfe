import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { type MessageFacts } from '../kernel/message-context.js';
import { newId } from '../kernel/new-id.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { storedFacts } from '../events/event-metadata.js';
import { encodePayload } from '../events/payload.js';
import { JobStore, type NewJob } from './job-store.js';
import { JobTransport, type NewTicket } from './job-transport.js';
import { queuedCommandOf } from './queued-command.js';

/** Puts jobs into the unit's transaction, and into BullMQ after its COMMIT. */
@Injectable()
export class JobOutbox {
  private readonly logger = new Logger('Tandem');
  private away = false;
  private handled: ReadonlySet<string> | undefined;
  private readonly warned = new Set<string>();

  constructor(
    private readonly store: JobStore,
    private readonly transport: JobTransport,
  ) {}

  /** Tells the names of the queued commands that this application has handlers for; until then none is missed. */
  expect(names: Iterable<string>): void {
    this.handled = new Set(names);
  }

  /** Rows go in at once, those whose dedupe key exists are left out; returns the ids of the new ones. */
  async put(unit: Unit, jobs: readonly NewJob[]): Promise<readonly string[]> {
    if (jobs.length === 0) return [];
    for (const job of jobs) this.warnOfNoHandler(job);
    const tickets = await this.store.insert(unit, jobs);
    unit.afterCommit(() => void this.send(tickets));
    return tickets.map(({ id }) => id);
  }

  /** Not refused: another application on this database may have the handler. */
  private warnOfNoHandler({ name, queue }: NewJob): void {
    if (!this.handled || this.handled.has(name) || this.warned.has(name)) return;
    this.warned.add(name);
    this.logger.warn(`"${name}" is queued, but no module here provides a handler for it: it waits in queue "${queue}" until a worker that has one takes it`);
  }

  /** Never rejects: a ticket that is lost here is added by the reconciler. */
  async send(tickets: readonly NewTicket[]): Promise<void> {
    if (tickets.length === 0) return;
    try {
      await this.transport.add(tickets);
      this.away = false;
    } catch (error) {
      if (!this.away) this.logger.warn(`Jobs wait in SQL until the queue is back: ${String(error)}`);
      this.away = true;
    }
  }
}

/** A row for a queued command. @throws TANDEM_WIRING when the class has no `@QueuedCommand`; TANDEM_PAYLOAD_REFUSED. */
export function newJob(command: object, facts: MessageFacts, dedupeKey: string | null = null): NewJob {
  const definition = queuedCommandOf(command.constructor);
  if (!definition)
    throw new TandemError('TANDEM_WIRING', `${command.constructor.name} was to be queued but has no @QueuedCommand`, {
      next: 'Add the decorator with a stable name, a queue and its effect.',
    });
  const { name, queue } = definition;
  return { id: newId(), name, queue, payload: encodePayload(name, command), metadata: jobMetadata(facts), dedupeKey, delayMs: 0 };
}

function jobMetadata(facts: MessageFacts): string {
  return facts.tenant ? JSON.stringify({ ...(JSON.parse(storedFacts(facts)) as object), tenant: facts.tenant }) : storedFacts(facts);
}
