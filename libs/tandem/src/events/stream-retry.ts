/** Runs a held stream again: from its failed event to the consumer's checkpoint, under the checkpoint's lock. */
import { isTandemError } from '../kernel/errors.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { type Consumer, EventFailure, sideOf, typesOf } from './consumer.js';
import { type BatchPorts, type BatchResult, whyStopped } from './consumer-batch.js';
import type { Claim } from './consumer-store.js';
import { deadLetter } from './dead-letter.js';
import type { DeadLetter } from './dead-letter-store.js';
import type { EventKey, StoredEvent } from './event-log.js';
import { handleEvents } from './handle-events.js';
import { retryDelay } from './retry-delay.js';

interface Failed {
  readonly event: StoredEvent;
  readonly cause: unknown;
}

/** Payloads in memory. */
const READ_AT_ONCE = 100;

export class StreamRetry {
  constructor(private readonly ports: BatchPorts) {}

  /** Nothing is handled when the stream is still held at the same event, or newer code has to handle what is behind it. */
  async run(consumer: Consumer, letter: DeadLetter): Promise<BatchResult> {
    let failed: Failed | undefined;
    for (;;) {
      try {
        const moved = await this.ports.units.run((unit) => this.attempt(unit, consumer, letter, failed), { kind: 'consumer', side: sideOf(consumer) });
        return { handled: moved ? 1 : 0, more: false };
      } catch (error) {
        if (isTandemError(error, 'TANDEM_EVENT_UNKNOWN')) return { handled: 0, more: false, stopped: error.message, outdated: true };
        if (!(error instanceof EventFailure)) throw error;
        if (this.ports.units.isTransient(error.cause)) throw error.cause;
        failed = { event: error.failed, cause: error.cause };
      }
    }
  }

  private async attempt(unit: Unit, consumer: Consumer, letter: DeadLetter, lastFailed: Failed | undefined): Promise<boolean> {
    const { letters, log, settings, store } = this.ports;
    const claim = await store.claim(unit, { consumer: consumer.name, exclusive: consumer.parallelism === 1, shards: [letter.shard], wait: true });
    const checkpoint = claim?.checkpoints[0];
    if (!claim || !checkpoint || whyStopped(consumer, claim)) return false;
    // Of a consumer that halts, or halted when it met the event: its next batch tries again.
    if (checkpoint.seq < letter.seq) return false;
    const now = (await letters.held(unit, consumer.name, claim.generation, [letter.shard])).find(
      ({ eventId, stream, tenant }) => eventId === letter.eventId && stream === letter.stream && tenant === letter.tenant,
    );
    // Not due any more: another worker was faster, and the event failed again.
    if (!now?.due) return false;
    // An operator may have discarded it since it failed.
    const failed = now.state === 'discarded' && lastFailed?.event.eventId === now.eventId ? undefined : lastFailed;
    const all = await this.keysOf(unit, consumer, letter, checkpoint.seq);
    const keys = now.state === 'discarded' ? all.filter(({ eventId }) => eventId !== now.eventId) : all;
    const before = failed ? keys.filter(({ seq }) => seq < failed.event.seq) : keys;
    for (let from = 0; from < before.length; from += READ_AT_ONCE) {
      // Handled one at a time: a failure then always names its event.
      for (const event of await log.readEvents(unit, before.slice(from, from + READ_AT_ONCE))) await handleEvents(unit, consumer, [event]);
    }
    if (!failed) {
      await letters.release(unit, letter);
      return true;
    }
    const attempts = failed.event.eventId === now.eventId ? now.attempts + 1 : 1;
    const parked = attempts >= settings.consumerAttempts;
    await letters.hold(unit, this.letterAfter(consumer, claim, failed, { attempts, parked }));
    return before.length > 0;
  }

  private letterAfter(consumer: Consumer, claim: Claim, failed: Failed, { attempts, parked }: { attempts: number; parked: boolean }) {
    return deadLetter(consumer, claim, failed.event, { cause: failed.cause, attempts, parked, retryInMs: retryDelay(attempts, this.ports.settings.consumerBackoffMs) });
  }

  private async keysOf(unit: Unit, consumer: Consumer, letter: DeadLetter, upTo: number): Promise<readonly EventKey[]> {
    const types = new Set(typesOf(consumer));
    const { shard, seq, stream, tenant } = letter;
    return (await this.ports.log.readStreamKeys(unit, { tenant, stream, from: { shard, seq }, upTo })).filter(({ type }) => types.has(type));
  }
}
