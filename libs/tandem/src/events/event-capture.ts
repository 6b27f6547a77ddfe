/**
 * Catches what a handler publishes and puts it on the log with the handler's own writes. Serialized at once, so a later
 * change of the event object changes nothing; appended as the last step before COMMIT; handed to in-process handlers after it.
 */
import { Injectable, Logger } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { currentMessage, nextMessage } from '../kernel/message-context.js';
import { newId } from '../kernel/new-id.js';
import { UnitOfWork, type Unit } from '../kernel/unit-of-work.js';
import type { CommandOutcome } from './command-outcome.js';
import { domainEventOf, streamOf } from './domain-event.js';
import { storedFacts } from './event-metadata.js';
import { type AppendedEvent, EventLog, type PendingEvent, type StoredEvent } from './event-log.js';
import { expectedVersionOf } from './expected-version.js';
import { encodePayload } from './payload.js';
import { noteWritten } from './written.js';

const PENDING = Symbol('tandem:pending-events');
const OUTCOMES = Symbol('tandem:command-outcomes');
const APPENDED = Symbol('tandem:appended');
/** Compared byte for byte, on every database. */
const TENANT = /^[A-Za-z0-9._:@/+=-]{0,64}$/;

/** What happens in the unit after its events are appended, under their shards' locks. */
export interface AppendListener {
  /** Whether anything is to be done for events of these types. */
  wants(types: ReadonlySet<string>): boolean;
  appended(unit: Unit, events: readonly StoredEvent[]): Promise<void>;
}

@Injectable()
export class EventCapture {
  private readonly logger = new Logger('Tandem');
  private readonly listeners: AppendListener[] = [];
  private readonly committedTasks: ((events: readonly AppendedEvent[]) => void)[] = [];

  constructor(
    private readonly units: UnitOfWork,
    private readonly log: EventLog,
  ) {
    units.lastBeforeCommit((unit) => this.append(unit));
  }

  onAppend(listener: AppendListener): void {
    this.listeners.push(listener);
  }

  /** Told after COMMIT what was appended. */
  onCommitted(task: (events: readonly AppendedEvent[]) => void): void {
    this.committedTasks.push(task);
  }

  /**
   * Inside a unit of work: buffered until its COMMIT; returns undefined. Outside: a unit of its own; the promise resolves
   * after COMMIT, and a failure is logged too, since nobody has to await `publish`.
   * @throws TANDEM_PAYLOAD_REFUSED at once, also for a tenant that databases compare differently; TANDEM_EVENT_OUTSIDE_COMMAND inside a projection or saga; TANDEM_UNIT_OF_WORK_CLOSED after the unit.
   */
  take(events: readonly object[], handOver: () => void): Promise<void> | undefined {
    const unit = this.units.current;
    if (unit) refuseAfterAppend(unit, `${events[0]?.constructor.name} was published`);
    if (unit?.kind === 'elsewhere')
      throw new TandemError('TANDEM_OTHER_DATA_SOURCE', `${events[0]?.constructor.name} was published in a unit of work on another data source than the log's`, {
        next: 'Publish it from a command on the data source of the log, which is the default one unless typeOrmStorage names another.',
      });
    if (unit && unit.kind !== 'write')
      throw new TandemError('TANDEM_EVENT_OUTSIDE_COMMAND', `${events[0]?.constructor.name} was published inside a ${unit.kind === 'consumer' ? 'projection or saga' : 'query'}`);
    const pending = events.map(pendingEvent);
    if (unit) {
      this.buffer(unit, pending, handOver);
      return undefined;
    }
    const done = this.units.run(async (own) => this.buffer(own, pending, handOver));
    done.catch((error: unknown) => this.logger.error(`Publishing ${pending.map(({ type }) => type).join(', ')} outside of a command failed: ${String(error)}`));
    return done;
  }

  /** Puts events on the log with the unit; in-process handlers are not told. */
  add(unit: Unit, pending: readonly PendingEvent[]): void {
    for (const event of pending) unit.add(PENDING, event);
  }

  /** Keeps what a command has answered with the unit's append. @throws TANDEM_EVENT_OUTSIDE_COMMAND */
  complete(unit: Unit, outcome: CommandOutcome): void {
    refuseAfterAppend(unit, `A command with the id "${outcome.commandId}" was executed`);
    unit.add(OUTCOMES, outcome);
  }

  /** What commands of the unit have answered so far. */
  outcomesIn(unit: Unit): readonly CommandOutcome[] {
    return unit.listOf<CommandOutcome>(OUTCOMES);
  }

  private buffer(unit: Unit, pending: readonly PendingEvent[], handOver: () => void): void {
    this.add(unit, pending);
    unit.afterCommit(handOver);
  }

  private async append(unit: Unit): Promise<void> {
    unit.notes.set(APPENDED, true);
    const pending = unit.listOf<PendingEvent>(PENDING);
    const outcomes = this.outcomesIn(unit);
    if (pending.length === 0) {
      if (outcomes.length > 0) await this.log.appendLast(unit, pending, outcomes);
      return;
    }
    const types = new Set(pending.map(({ type }) => type));
    const listeners = this.listeners.filter((listener) => listener.wants(types));
    const appended = listeners.length === 0 ? await this.log.appendLast(unit, pending, outcomes) : await this.appendFor(listeners, unit, pending, outcomes);
    for (const task of this.committedTasks) unit.afterCommit(() => task(appended));
    unit.afterCommit(() => noteWritten(appended));
  }

  private async appendFor(
    listeners: readonly AppendListener[],
    unit: Unit,
    pending: readonly PendingEvent[],
    outcomes: readonly CommandOutcome[],
  ): Promise<readonly AppendedEvent[]> {
    const stored = await this.log.append(unit, pending, outcomes);
    for (const listener of listeners) await listener.appended(unit, stored);
    return stored;
  }
}

/** Too late for the log; a plain projection's unit is not of kind `write`, an immediate one's is the command's. */
function refuseAfterAppend(unit: Unit, what: string): void {
  if (unit.notes.has(APPENDED)) throw new TandemError('TANDEM_EVENT_OUTSIDE_COMMAND', `${what} by an immediate projection, or by code that its command does not wait for`);
}

function pendingEvent(event: object): PendingEvent {
  const facts = currentMessage() ?? nextMessage();
  const { tenant = '' } = facts;
  return serialized(event, { eventId: newId(), tenant, metadata: storedFacts(facts), expected: expectedVersionOf(event) });
}

/** @throws TANDEM_PAYLOAD_REFUSED */
export function serialized(event: object, { eventId, tenant, metadata, expected }: Pick<PendingEvent, 'eventId' | 'tenant' | 'metadata' | 'expected'>): PendingEvent {
  const definition = domainEventOf(event.constructor)!;
  if (!TENANT.test(tenant)) throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${definition.name}: the tenant is not up to 64 letters, digits and ._:@/+=-`);
  return {
    eventId,
    tenant,
    stream: streamOf(event),
    type: definition.name,
    schemaVersion: definition.version,
    payload: encodePayload(definition.name, event),
    metadata,
    expected,
  };
}
