/**
 * The log: every committed event once, in 64 *shards*, each numbered 1, 2, 3, … without holes. A *stream* (an aggregate's
 * events, versions 1, 2, 3, …) lives in one shard. A shard's *head* is its last number; its row lock is held from append to
 * COMMIT, so within a shard the order of numbers is the order of commits and a reader that advances over contiguous numbers
 * skips nothing. The *cut* is the database's clock when the heads were read: later events wait for the next read, which keeps
 * what is read causally closed across shards.
 */
import type { Unit } from '../kernel/unit-of-work.js';
import type { CommandOutcome } from './command-outcome.js';
import type { Waiting } from './run-condition.js';

/** Fixed when the tables are made. */
export const SHARDS = 64;

/** Which shard a stream lives in: FNV-1a over tenant and stream. Stored positions depend on it, so it never changes. */
export function shardOf(tenant: string, stream: string): number {
  let hash = 0x811c9dc5;
  const text = `${tenant}\n${stream}`;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % SHARDS;
}

export interface Position {
  readonly shard: number;
  readonly seq: number;
}

/** What a handler is told about its event beside the payload. */
export interface EventMetadata {
  readonly eventId: string;
  readonly type: string;
  readonly stream: string;
  /** Of the event in its stream, from 1. */
  readonly version: number;
  /** By the database's clock. */
  readonly recordedAt: Date;
  readonly position: Position;
  readonly correlationId: string;
  readonly causationId?: string;
  /** How many durable sagas, one after the other, have led to it; undefined for none. */
  readonly depth?: number;
  readonly actor?: string;
  readonly tenant?: string;
  readonly traceparent?: string;
  /** Of an event that `HistoryImport` has appended: the name of its source. Undefined for all others. */
  readonly history?: string;
}

/** The version a stream must have for an append: its last event's, `none` for a new stream, `any` to take what comes next. */
export type ExpectedVersion = number | 'none' | 'any';

/** An event on its way into the log, already serialized. */
export interface PendingEvent {
  readonly eventId: string;
  readonly tenant: string;
  readonly stream: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly payload: string;
  readonly metadata: string;
  readonly expected: ExpectedVersion;
}

/** An event without its payload: enough to order, filter and budget a read. */
export interface EventKey extends Position {
  readonly eventId: string;
  readonly tenant: string;
  readonly stream: string;
  readonly version: number;
  readonly type: string;
  readonly schemaVersion: number;
  /** Microseconds since the epoch, by the database's clock. */
  readonly recordedAtMicros: number;
  readonly payloadBytes: number;
}

/** What is known of an event that was just appended without reading anything back. */
export type AppendedEvent = Position & Pick<PendingEvent, 'eventId' | 'tenant' | 'stream' | 'type'>;

export interface StoredEvent extends EventKey {
  readonly payload: string;
  readonly metadata: string;
}

/** A key, and its event's texts where they were read with it. */
export type ReadKey = EventKey & Partial<Pick<StoredEvent, 'payload' | 'metadata'>>;

/** Which events bring their texts along with their keys: most are small, and one statement less is a round trip less. */
export interface InlineTexts {
  readonly types: readonly string[];
  /** Of payload and metadata together; larger ones are left out. */
  readonly maxBytes: number;
}

export interface Heads {
  /** Microseconds since the epoch: the database's clock when the statement began. */
  readonly cutMicros: number;
  /** Shard → last number. Shards without events are missing. */
  readonly heads: ReadonlyMap<number, number>;
}

/** Numbers `after < seq <= upTo` of one shard. */
export interface ShardRange {
  readonly shard: number;
  readonly after: number;
  readonly upTo: number;
}

/** Which events to count: those behind these numbers. */
export interface CountRequest {
  /** Shard → number. */
  readonly after: ReadonlyMap<number, number>;
  /** Stored types that count as the asker's own. */
  readonly types: readonly string[];
  /** Where counting ends: of any type. */
  readonly upTo: number;
}

export interface Counts {
  /** The database's clock, in microseconds since the epoch. */
  readonly nowMicros: number;
  /** In the order of the requests. */
  readonly waiting: readonly Waiting[];
}

/** A stream's events `from <= seq <= upTo`. */
export interface StreamRange {
  readonly tenant: string;
  readonly stream: string;
  readonly from: Position;
  readonly upTo: number;
}

/** Some versions of one stream. */
export interface StreamVersions {
  readonly tenant: string;
  readonly stream: string;
  readonly versions: readonly number[];
}

/** Which event a stream has at a version. */
export type EventAt = Pick<EventKey, 'eventId' | 'tenant' | 'stream' | 'version'>;

/** Which part of a stream is read, and in which direction. */
export interface StreamRead {
  /** Where it begins. Default the first event; backwards the last one. */
  readonly fromVersion?: number;
  /** From newer events to older ones. Default false. */
  readonly backwards?: boolean;
  /** At most so many events. Default all. */
  readonly limit?: number;
}

/** Port. With a unit, statements run in its transaction; without, on a connection of their own. */
export abstract class EventLog {
  /**
   * Appends in order, as the unit's last writes, and takes the shard locks in ascending order. Completes the records of these commands, which `CommandStore.take`
   * has made, with the positions taken; there may be no events.
   * @throws OptimisticConcurrencyError when a stream is not at its expected version.
   */
  abstract append(unit: Unit, events: readonly PendingEvent[], outcomes?: readonly CommandOutcome[]): Promise<readonly StoredEvent[]>;

  /** As `append`, where nothing else follows in the unit: a log that can sends COMMIT in the same round trip. */
  appendLast(unit: Unit, events: readonly PendingEvent[], outcomes?: readonly CommandOutcome[]): Promise<readonly AppendedEvent[]> {
    return this.append(unit, events, outcomes);
  }

  /** In a statement of its own; never joined with events. Only the shards given, or all. */
  abstract heads(unit?: Unit, shards?: readonly number[]): Promise<Heads>;

  /** The keys of these ranges, in order within each shard; with the texts that `inline` asks for. */
  abstract readKeys(unit: Unit, ranges: readonly ShardRange[], inline?: InlineTexts): Promise<readonly ReadKey[]>;

  /** Counts what waits, for several askers in one statement, outside of any unit. */
  abstract count(requests: readonly CountRequest[]): Promise<Counts>;

  /** The keys of one stream from the event at this position to number `upTo` of its shard, in version order. */
  abstract readStreamKeys(unit: Unit, of: StreamRange): Promise<readonly EventKey[]>;

  /** Which events many streams have at these versions, in no order; versions that a stream does not have are left out. Few statements, however many streams. */
  abstract eventsAt(unit: Unit, streams: readonly StreamVersions[]): Promise<readonly EventAt[]>;

  /** The events of these keys, in the order of the keys. Reads only what the keys have not brought along. */
  abstract readEvents(unit: Unit, keys: readonly ReadKey[]): Promise<readonly StoredEvent[]>;

  /**
   * Fills what is missing of a shard from this number on, under the shard's lock, with events that nobody subscribes to: numbers
   * that were taken without their events would stop every reader for ever. In a transaction of its own. Returns how many were missing.
   */
  abstract closeHole(at: Position): Promise<number>;

  /** A stream in version order, or against it; contiguous. In the unit that the caller runs in, if one is open: with what that one has appended. */
  abstract readStream(tenant: string, stream: string, read?: StreamRead): Promise<readonly StoredEvent[]>;
}
