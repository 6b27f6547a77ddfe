import { currentNotes } from '../kernel/message-context.js';
import type { AppendedEvent } from './event-log.js';

/** What the commands of one request have committed so far: the raw material of a consistency token. */
export interface Written {
  /** Shard → highest number. */
  readonly positions: Map<number, number>;
  /** `tenant\nstream` of every stream written to. */
  readonly streams: Set<string>;
}

/** What one unit of work has committed, as it is kept with a command id. */
export interface WrittenPositions {
  /** Shard → highest number. */
  readonly positions: ReadonlyMap<number, number>;
  /** `tenant\nstream`, at most {@link MAX_WRITTEN_STREAMS}. */
  readonly streams: readonly string[];
}

/** A token names 64 streams one by one: with one more it stands for all. */
export const MAX_WRITTEN_STREAMS = 65;

const WRITTEN = Symbol('tandem:written');

/** Adds committed events to the notes of the current request. */
export function noteWritten(events: readonly AppendedEvent[]): void {
  const written = noted();
  if (!written) return;
  for (const event of events) {
    notePosition(written, event.shard, event.seq);
    written.streams.add(`${event.tenant}\n${event.stream}`);
  }
}

/** Adds what an earlier unit of work has committed, so that who repeats its command is given the same token. */
export function noteWrittenBefore({ positions, streams }: WrittenPositions): void {
  if (positions.size === 0) return;
  const written = noted();
  if (!written) return;
  for (const [shard, seq] of positions) notePosition(written, shard, seq);
  for (const stream of streams) written.streams.add(stream);
}

/** What the current request has committed, or undefined when nothing. */
export const writtenSoFar = (): Written | undefined => currentNotes()?.[WRITTEN] as Written | undefined;

function noted(): Written | undefined {
  const notes = currentNotes();
  return notes && ((notes[WRITTEN] ??= { positions: new Map(), streams: new Set() } satisfies Written) as Written);
}

const notePosition = ({ positions }: Written, shard: number, seq: number): void => void positions.set(shard, Math.max(seq, positions.get(shard) ?? 0));
