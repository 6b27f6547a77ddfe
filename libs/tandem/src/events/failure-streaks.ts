/**
 * What a process remembers of a consumer's failures from one batch to the next. A *streak*: streams that failed one after the
 * other with the same error while nothing went well. A full disk, or code that fails for everything, is not poison: it pauses
 * the consumer instead of holding every stream. After a batch with several failures the next ones are smaller, so that a
 * handler that fails often costs few events that are handled again.
 */
import type { EventKey } from './event-log.js';

/** So many streams in a row are not poisoned one by one. */
export const COMMON_CAUSE_STREAMS = 10;
/** Failures after which a batch ends at the last of them: what it has done commits before it meets the next. */
export const FAILURES_AT_ONCE = 3;
const SMALLEST_BATCH = 8;

export interface Failed {
  readonly event: EventKey;
  readonly cause: unknown;
}

interface Streak {
  readonly cause: string;
  readonly length: number;
}

/** What one batch adds: its failures, how often it ran, and how many events went well. */
export interface BatchOutcome {
  readonly held: readonly Failed[];
  readonly handled: number;
  readonly tries: number;
}

export class FailureStreaks {
  private readonly streaks = new Map<string, Streak>();
  private readonly sizes = new Map<string, number>();

  /** The streak as it is once this batch commits. */
  after(consumer: string, { handled, held }: BatchOutcome): Streak | undefined {
    if (handled > 0) return undefined;
    let streak = this.streaks.get(consumer);
    for (const { cause, event } of held) {
      const kind = kindOf(cause, event);
      streak = { cause: kind, length: streak?.cause === kind ? streak.length + 1 : 1 };
    }
    return streak;
  }

  committed(consumer: string, outcome: BatchOutcome, batchSize: number): void {
    const streak = this.after(consumer, outcome);
    // Paused: who resumes it has mended something.
    if (!streak || streak.length >= COMMON_CAUSE_STREAMS) this.streaks.delete(consumer);
    else this.streaks.set(consumer, streak);
    const size = this.sizeFor(consumer, batchSize);
    const next = outcome.tries > FAILURES_AT_ONCE ? Math.max(SMALLEST_BATCH, Math.floor(size / 4)) : size * 2;
    if (next >= batchSize) this.sizes.delete(consumer);
    else this.sizes.set(consumer, next);
  }

  /** Events in the consumer's next batch, at most. */
  sizeFor(consumer: string, batchSize: number): number {
    return Math.min(this.sizes.get(consumer) ?? batchSize, batchSize);
  }
}

/** The same for one cause on several streams: the error's code, or its message without what differs from event to event. */
function kindOf(error: unknown, { eventId, stream }: EventKey): string {
  // Anything can be thrown.
  const { code, message, name } = (error ?? {}) as { code?: unknown; message?: unknown; name?: unknown };
  if (typeof code === 'string' || typeof code === 'number') return `${String(name)} ${code}`;
  const id = stream.slice(stream.indexOf('-') + 1);
  const text = [eventId, stream, id].reduce((rest, own) => rest.replaceAll(own, '#'), String(message ?? error));
  return `${String(name)} ${text.replace(/\d+/g, '#')}`;
}
