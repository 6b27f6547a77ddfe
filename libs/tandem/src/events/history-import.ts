/**
 * History: events for what existed before the log. An *item* is all the history of one stream, from version 1; it is imported whole or not at all. A *chunk*
 * is as many items as one unit of work takes. The ids of the events are made of source, key and place, so a look at the streams tells what an earlier run
 * has done: nothing else is kept, and a run that was ended goes on by being run again.
 */
import { Injectable } from '@nestjs/common';
import { v5 as uuidv5 } from 'uuid';
import { isTandemError, TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';
import { currentMessage, nextMessage, runWithMessage } from '../kernel/message-context.js';
import { UnitOfWork, type Unit } from '../kernel/unit-of-work.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { domainEventOf, isDomainEvent } from './domain-event.js';
import { EventCapture, serialized } from './event-capture.js';
import { storedFacts } from './event-metadata.js';
import { EventLog, type PendingEvent } from './event-log.js';

/** All the history of one stream. */
export interface HistoryItem {
  /** Names it within its source, the same in every run: the key of a row, for example. */
  readonly key: string;
  /** Instances of `@DomainEvent` classes, all of one stream, oldest first: they become its versions 1, 2, 3, … At least one. */
  readonly events: readonly object[];
  /** Whose stream it is. Default the tenant of the current message. */
  readonly tenant?: string;
}

/** Events so far. */
export interface HistoryCounts {
  readonly imported: number;
  /** They were there already. */
  readonly skipped: number;
}

export interface HistoryRun {
  /** Names where the items come from, the same in every run: lower-case letters, digits, dots and dashes. */
  readonly source: string;
  /** Read as fast as it is imported: what is in memory is one chunk. */
  readonly events: AsyncIterable<HistoryItem> | Iterable<HistoryItem>;
  /** Events in one unit of work, about: an item is never divided. Default 500. */
  readonly chunkSize?: number;
  /** Called after the COMMIT of each chunk; what it throws ends the run. */
  readonly onProgress?: (counts: HistoryCounts) => void;
  /** Ends the run between two chunks. */
  readonly signal?: AbortSignal;
}

const OPTIONS: Readonly<Record<keyof HistoryRun, true>> = { source: true, events: true, chunkSize: true, onProgress: true, signal: true };
const SOURCE = /^[a-z0-9][a-z0-9._-]{0,119}$/;
const CHUNK_SIZE = 500;
const MAX_CHUNK_SIZE = 10_000;
/** A chunk is in memory, and in one transaction. */
const MAX_CHUNK_CHARACTERS = 4 * 1024 * 1024;
/** So often a chunk may meet a conflict that a new look does not explain. */
const FRUITLESS_LOOKS = 3;
/** Part of every id of an imported event: it never changes. */
const NAMESPACE = '6f1f1d57-0b0e-4d0a-9c39-2f6a3f0e7c51';

/** An item, serialized. */
interface Stretch {
  readonly key: string;
  readonly tenant: string;
  readonly stream: string;
  readonly events: readonly PendingEvent[];
}

interface Run {
  readonly source: string;
  readonly chunkSize: number;
  readonly tenant: string;
  readonly metadata: string;
  readonly signal?: AbortSignal;
}

class Chunk {
  readonly stretches: Stretch[] = [];
  private readonly streams = new Set<string>();
  private events = 0;
  private characters = 0;

  constructor(private readonly size: number) {}

  hasRoomFor(stretch: Stretch): boolean {
    if (this.stretches.length === 0) return true;
    // A stream that comes again is looked at when the first is there.
    if (this.streams.has(streamId(stretch))) return false;
    return this.events + stretch.events.length <= this.size && this.characters + charactersOf(stretch) <= MAX_CHUNK_CHARACTERS;
  }

  add(stretch: Stretch): void {
    this.stretches.push(stretch);
    this.streams.add(streamId(stretch));
    this.events += stretch.events.length;
    this.characters += charactersOf(stretch);
  }
}

/** Brings events onto the log for what existed before it. Projections handle them as any others; durable sagas, `@Durable` handlers and in-process handlers never do. */
@Injectable()
export class HistoryImport {
  constructor(
    private readonly units: UnitOfWork,
    private readonly log: EventLog,
    private readonly capture: EventCapture,
    private readonly registry: ConsumerRegistry,
  ) {}

  /**
   * Imports chunk by chunk, each in a unit of work of its own. Items that were imported before are passed over, so a run that was ended (or goes on elsewhere at the same time) is
   * simply run again. `immediate()` projections fold a chunk before its COMMIT, as they do a command's events. The time of the events is that of their import.
   *
   * @throws TANDEM_HISTORY_CONFLICT for a stream that has other events; TANDEM_HISTORY_REFUSED for an item without events, of several streams, or with what is no `@DomainEvent`,
   * and inside a unit of work; TANDEM_PAYLOAD_REFUSED; TANDEM_HISTORY_CANCELLED when `signal` aborts; what the source throws. Earlier chunks stay.
   */
  async run(options: HistoryRun): Promise<HistoryCounts> {
    const { chunkSize = CHUNK_SIZE, events, onProgress, signal, source } = checked(options);
    if (this.units.current)
      throw new TandemError('TANDEM_HISTORY_REFUSED', `The import of "${source}" was begun inside a unit of work`, {
        next: "Each chunk has one of its own: import outside of commands, or in one whose handler has `@UnitOfWork('none')`.",
      });
    const facts = currentMessage() ?? nextMessage();
    const run: Run = { source, chunkSize, tenant: facts.tenant ?? '', metadata: storedFacts(facts, source), signal };
    refuseAborted(run);
    let counts: HistoryCounts = { imported: 0, skipped: 0 };
    for await (const chunk of this.chunks(events, run)) {
      refuseAborted(run);
      // Notes of its own: those of a request would grow with every stream.
      const imported = await runWithMessage(facts, () => this.importChunk(chunk, run), {});
      counts = { imported: counts.imported + imported, skipped: counts.skipped + countOf(chunk) - imported };
      onProgress?.(counts);
    }
    return counts;
  }

  private async *chunks(items: HistoryRun['events'], run: Run): AsyncGenerator<readonly Stretch[]> {
    let chunk = new Chunk(run.chunkSize);
    for await (const item of items) {
      refuseAborted(run);
      const stretch = this.stretchOf(item, run);
      if (!chunk.hasRoomFor(stretch)) {
        yield chunk.stretches;
        chunk = new Chunk(run.chunkSize);
      }
      chunk.add(stretch);
    }
    if (chunk.stretches.length > 0) yield chunk.stretches;
  }

  private stretchOf({ events, key, tenant: own }: HistoryItem, { metadata, source, tenant: given }: Run): Stretch {
    const refuse = (why: string) => new TandemError('TANDEM_HISTORY_REFUSED', `The item "${key}" of "${source}" ${why}`, { data: { source, key } });
    if (typeof key !== 'string' || key === '') throw refuse('has no key');
    const tenant = own ?? given;
    const pending = events.map((event, i) => {
      if (!isDomainEvent(event)) throw refuse(`has an event without @DomainEvent, ${event.constructor.name}`);
      const { eventClass, name } = domainEventOf(event.constructor)!;
      const handled = this.registry.eventClassOf(name);
      if (handled && handled !== eventClass) throw refuse(`has an event of ${eventClass.name}, but under the name "${name}" a projection or saga handles ${handled.name}`);
      return serialized(event, { eventId: uuidv5(JSON.stringify([source, tenant, key, i]), NAMESPACE), tenant, metadata, expected: 'none' });
    });
    const [first] = pending;
    if (!first) throw refuse('has no events');
    const other = pending.find(({ stream }) => stream !== first.stream);
    if (other) throw refuse(`has events of two streams, ${first.stream} and ${other.stream}`);
    return { key, tenant, stream: first.stream, events: pending };
  }

  /** How many events were imported. */
  private async importChunk(chunk: readonly Stretch[], run: Run): Promise<number> {
    let before = Infinity;
    for (let fruitless = 0; ;) {
      let missing = 0;
      try {
        // It looks at what is there first, so it may run again where a COMMIT is unknown.
        return await this.units.run((unit) => this.importInto(unit, chunk, run, (count) => (missing = count)), { repeatUnknown: true });
      } catch (error) {
        // Another import, or a command, was first: the next look finds its stream. Where it finds no more than the last, the conflict is another one.
        if (!isTandemError(error, 'TANDEM_CONCURRENCY_CONFLICT')) throw error;
        if (missing >= before && ++fruitless === FRUITLESS_LOOKS) throw error;
        before = missing;
      }
    }
  }

  private async importInto(unit: Unit, chunk: readonly Stretch[], { source }: Run, found: (missing: number) => void): Promise<number> {
    const ends = chunk.map(({ events, stream, tenant }) => ({ tenant, stream, versions: [...new Set([1, events.length])] }));
    const ids = new Map((await this.log.eventsAt(unit, ends)).map((event) => [`${streamId(event)}\n${event.version}`, event.eventId]));
    const missing = chunk.filter((stretch) => !isThere(stretch, (version) => ids.get(`${streamId(stretch)}\n${version}`), source));
    const events = missing.flatMap((stretch) => stretch.events);
    found(events.length);
    this.capture.add(unit, events);
    return events.length;
  }
}

/** A stretch is written whole: its first and its last event stand for all. @throws TANDEM_HISTORY_CONFLICT */
function isThere({ events, key, stream, tenant }: Stretch, idAt: (version: number) => string | undefined, source: string): boolean {
  const first = idAt(1);
  if (first === undefined) return false;
  if (first === events[0]!.eventId && idAt(events.length) === events.at(-1)!.eventId) return true;
  const why = first === events[0]!.eventId ? `was imported with fewer than the ${events.length} events that there are now` : 'has other events already';
  throw new TandemError('TANDEM_HISTORY_CONFLICT', `${stream}, the stream of item "${key}" of "${source}", ${why}`, { data: { source, key, stream, tenant } });
}

function checked(options: HistoryRun): HistoryRun {
  const given = knownOptions('HistoryImport.run', options, OPTIONS);
  const { chunkSize = CHUNK_SIZE, source } = given;
  const refuse = (why: string) => new TandemError('TANDEM_HISTORY_REFUSED', `HistoryImport.run: ${why}`, { next: 'Correct the option and run it again.' });
  if (typeof source !== 'string' || !SOURCE.test(source)) throw refuse('`source` is lower-case letters, digits, dots and dashes');
  if (!Number.isInteger(chunkSize) || chunkSize < 1 || chunkSize > MAX_CHUNK_SIZE) throw refuse(`\`chunkSize\` is a whole number from 1 to ${MAX_CHUNK_SIZE}`);
  return given;
}

function refuseAborted({ signal, source }: Run): void {
  if (signal?.aborted) throw new TandemError('TANDEM_HISTORY_CANCELLED', `The import of "${source}" was cancelled`, { cause: signal.reason });
}

const countOf = (chunk: readonly Stretch[]): number => chunk.reduce((sum, { events }) => sum + events.length, 0);
const streamId = ({ tenant, stream }: { readonly tenant: string; readonly stream: string }): string => `${tenant}\n${stream}`;
const charactersOf = ({ events }: Stretch): number => events.reduce((sum, { payload }) => sum + payload.length, 0);
