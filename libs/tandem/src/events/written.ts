import { currentNotes } from '../kernel/message-context.js';
import type { AppendedEvent } from './event-log.js';

/** What the commands of one request have committed so far: the raw material of a consistency token. */
export interface Written {
  /** Shard → highest number. */
  readonly positions: Map<number, number>;
  /** `tenant\nstream` of every stream written to. */
  readonly streams: Set<string>;
}

const WRITTEN = Symbol('tandem:written');

/** Adds committed events to the notes of the current request. */
export function noteWritten(events: readonly AppendedEvent[]): void {
  const notes = currentNotes();
  if (!notes) return;
  const written = (notes[WRITTEN] ??= { positions: new Map(), streams: new Set() } satisfies Written) as Written;
  for (const event of events) {
    written.positions.set(event.shard, Math.max(event.seq, written.positions.get(event.shard) ?? 0));
    written.streams.add(`${event.tenant}\n${event.stream}`);
  }
}

/** What the current request has committed, or undefined when nothing. */
export const writtenSoFar = (): Written | undefined => currentNotes()?.[WRITTEN] as Written | undefined;
