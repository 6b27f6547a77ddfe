import type { EventKey, EventLog, ExpectedVersion, PendingEvent, StoredEvent } from '../../events/event-log.js';
import { newId } from '../../kernel/new-id.js';
import type { Unit, UnitOfWork } from '../../kernel/unit-of-work.js';

/** A log without events, and the units of work of the same database. */
export interface EventLogUnderTest {
  readonly log: EventLog;
  readonly units: UnitOfWork;
}

export const EVENT_TYPE = 'contract.happened';

export const pending = (stream: string, expected: ExpectedVersion = 'any', own: Partial<PendingEvent> = {}): PendingEvent => ({
  ...{ eventId: newId(), tenant: '', stream, type: EVENT_TYPE, schemaVersion: 1 },
  ...{ payload: '{"n":1}', metadata: '{}', expected },
  ...own,
});

/** In a unit of their own. */
export const append = ({ log, units }: EventLogUnderTest, ...events: PendingEvent[]): Promise<readonly StoredEvent[]> => units.run((unit) => log.append(unit, events));

export const reading = <T>({ units }: EventLogUnderTest, work: (unit: Unit) => Promise<T>): Promise<T> => units.run(work, { kind: 'consumer' });

/** Of all shards, up to their heads. */
export async function allKeys(subject: EventLogUnderTest): Promise<readonly EventKey[]> {
  const { heads } = await subject.log.heads();
  const ranges = [...heads].map(([shard, upTo]) => ({ shard, after: 0, upTo }));
  return reading(subject, (unit) => subject.log.readKeys(unit, ranges));
}

export const versionsOf = (events: readonly EventKey[]): number[] => events.map(({ version }) => version);
