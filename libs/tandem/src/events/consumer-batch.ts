/**
 * One batch of one consumer: read what lies between the claimed checkpoints and the heads, handle it in order, advance.
 * A failed event is never handled around: the batch's transaction is rolled back and run again without that stream from the
 * failed event on, and the stream is held in the same transaction that advances past it. Where the failure names no event
 * (a multi-row write), the batch is halved until it does.
 */
import { cutAtFailure, cutBehindFailures, forgetSettled, keyOf, type Lessons, streamId } from './batch-lessons.js';
import { readBatch } from './batch-read.js';
import { isTandemError } from '../kernel/errors.js';
import type { Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { type Consumer, EventFailure, typesOf } from './consumer.js';
import type { ConsumerSettings } from './consumer-settings.js';
import type { Checkpoint, Claim, ConsumerStore } from './consumer-store.js';
import { deadLetter, describeError } from './dead-letter.js';
import type { DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import type { EventKey, EventLog, Heads, Position, StoredEvent } from './event-log.js';
import { type BatchOutcome, COMMON_CAUSE_STREAMS, type Failed, FailureStreaks } from './failure-streaks.js';
import { handleEvents } from './handle-events.js';
import { unknownTypes } from './retired.js';
import { retryDelay } from './retry-delay.js';

export interface BatchResult {
  /** Events given to the handlers. */
  readonly handled: number;
  /** There is more to read at once. */
  readonly more: boolean;
  /** Everything that the claimed shards held was read, as far as the request goes. */
  readonly complete?: boolean;
  /** Checkpoints that moved. */
  readonly advanced?: number;
  /** The claim held every shard that lagged. */
  readonly whole?: boolean;
  /** What comes next cannot be read yet. */
  readonly waits?: boolean;
  /** The first number of a shard that is not there, though later ones are taken: not yet, or never. */
  readonly gap?: Position;
  /** Why the consumer may not go on, for a log line. */
  readonly stopped?: string;
  /** Since it takes newer code. */
  readonly outdated?: boolean;
  /** Since somebody wants it so. */
  readonly paused?: boolean;
}

/** How a batch is tried: a transaction of its own for a worker, a savepoint for a command that folds. */
export type Attempt = <T>(work: (unit: Unit) => Promise<T>) => Promise<T>;

/** What a batch has done, and what it knows of letters. */
interface Settlement {
  readonly lessons: Lessons;
  readonly ahead: readonly DeadLetter[];
  /** Handled or passed over. */
  readonly upTo: readonly EventKey[];
  /** Besides those, the event at which a consumer halts. */
  readonly reached: readonly EventKey[];
}

export interface BatchPorts {
  readonly units: UnitOfWork;
  readonly log: EventLog;
  readonly store: ConsumerStore;
  readonly letters: DeadLetterStore;
  readonly settings: ConsumerSettings;
}

export interface BatchRequest {
  readonly consumer: Consumer;
  /** Claims inside the attempt's unit; undefined when somebody else holds the checkpoints. */
  readonly claim: (unit: Unit) => Promise<Claim | undefined>;
  /** How far to read: heads and cut. */
  readonly heads: (unit: Unit, claim: Claim) => Promise<Heads>;
  readonly attempt: Attempt;
  /** A failed event that it says yes to is the caller's own: its error goes to the caller. */
  readonly isOwn?: (event: StoredEvent) => boolean;
  /** Leaves alone what was recorded at this time or later. */
  readonly untilMicros?: number;
  /** Runs in the transaction of a batch that was complete. */
  readonly atEnd?: (unit: Unit) => Promise<void>;
  /** Of a caller that comes again when the claim was busy: what was learnt before somebody else came in between two tries. */
  readonly interrupted?: { lessons?: Lessons };
}

/**
 * *Behind*: the stream is held back, the batch goes around it. *Ahead*: of a consumer that halts, the letter's event comes with
 * the next batch; behind are those that it passed by while it still parked.
 */
function sortHeld(consumer: Consumer, claim: Claim, held: readonly DeadLetter[]): { readonly behind: readonly DeadLetter[]; readonly ahead: readonly DeadLetter[] } {
  if (consumer.onError === 'park') return { behind: held, ahead: [] };
  const at = new Map(claim.checkpoints.map(({ shard, seq }) => [shard, seq]));
  const isBehind = ({ shard, seq }: DeadLetter): boolean => seq <= at.get(shard)!;
  return { behind: held.filter(isBehind), ahead: held.filter((letter) => !isBehind(letter)) };
}

export class ConsumerBatch {
  private readonly streaks = new FailureStreaks();

  constructor(private readonly ports: BatchPorts) {}

  /** Undefined when the claim was busy; stopped at an event of newer code. @throws what is transient, so that the caller tries again later. */
  async run(request: BatchRequest): Promise<BatchResult | undefined> {
    const { name } = request.consumer;
    const { batchSize } = this.ports.settings;
    const { interrupted } = request;
    const lessons: Lessons = interrupted?.lessons ?? { failed: new Map(), counted: new Map(), maxEvents: this.streaks.sizeFor(name, batchSize), tries: 0 };
    if (interrupted) interrupted.lessons = undefined; // what ends with an error has taught nothing that lasts
    for (;;) {
      let tried = 0;
      lessons.tries++;
      lessons.outcome = undefined;
      try {
        const result = await request.attempt(async (unit) => {
          lessons.outcome = undefined; // the database may have asked for a repeat
          const claim = await request.claim(unit);
          if (!claim) return undefined;
          const nothing = claim.checkpoints.length === 0 && claim.wentBack === undefined;
          const handled = nothing ? { handled: 0, more: false, complete: true } : await this.handle(unit, request, claim, lessons, (count) => (tried = count));
          if (handled.complete) await request.atEnd?.(unit);
          return handled;
        });
        if (lessons.outcome) this.streaks.committed(name, lessons.outcome, batchSize);
        if (interrupted && !result) interrupted.lessons = { ...lessons, tries: lessons.tries - 1 };
        return result;
      } catch (error) {
        if (isTandemError(error, 'TANDEM_EVENT_UNKNOWN')) return { handled: 0, more: false, stopped: error.message, outdated: true };
        this.learn(error, request, lessons, tried);
      }
    }
  }

  /**
   * For a command that has just appended: the claim stands right before its events, so they are handled from memory, in the
   * command's own transaction. Whatever fails is the command's own failure. False when they have to wait behind a held event.
   */
  async handleAppended(unit: Unit, consumer: Consumer, claim: Claim, appended: readonly StoredEvent[]): Promise<boolean> {
    if (whyStopped(consumer, claim)) return false;
    const held = await this.ports.letters.held(
      unit,
      consumer.name,
      claim.generation,
      claim.checkpoints.map(({ shard }) => shard),
    );
    const { behind, ahead } = sortHeld(consumer, claim, held);
    if (ahead.length > 0) return false;
    const wanted = new Set(this.wanted(consumer, appended, behind).map(({ eventId }) => eventId));
    await handleEvents(
      unit,
      consumer,
      appended.filter(({ eventId }) => wanted.has(eventId)),
    );
    await this.ports.store.advance(unit, claim, lastOfShards(appended));
    return true;
  }

  private async handle(unit: Unit, request: BatchRequest, claim: Claim, lessons: Lessons, trying: (count: number) => void): Promise<BatchResult> {
    const { consumer } = request;
    const stopped = whyStopped(consumer, claim);
    if (stopped) return { handled: 0, more: false, stopped, outdated: claim.state === 'running', paused: claim.state === 'paused' };
    if (claim.wentBack !== undefined) return this.halt(unit, consumer, claim.wentBack);
    const { letters, log, settings, store } = this.ports;
    const shards = claim.checkpoints.map(({ shard }) => shard);
    const { behind, ahead } = sortHeld(consumer, claim, await letters.held(unit, consumer.name, claim.generation, shards));
    if (ahead.some((letter) => letter.state === 'retrying' && !letter.due)) return { handled: 0, more: false };
    forgetSettled(lessons, claim, { behind, ahead });
    const { batchBytes, batchSize } = settings;
    const limits = { maxEvents: Math.min(batchSize, lessons.maxEvents), maxBytes: batchBytes, untilMicros: request.untilMicros };
    const read = await readBatch(unit, log, { types: typesOf(consumer), claim, heads: await request.heads(unit, claim), limits });
    if (read.wentBack !== undefined) return this.halt(unit, consumer, read.wentBack);
    const merged = cutBehindFailures(read, lessons);
    const upTo = consumer.onError === 'halt' ? cutAtFailure(merged, lessons) : merged.keys;
    const discarded = new Set(ahead.filter(({ state }) => state === 'discarded').map(({ eventId }) => eventId));
    const wanted = this.wanted(consumer, upTo, behind, lessons).filter(({ eventId }) => !discarded.has(eventId));
    trying(wanted.length);
    await handleEvents(unit, consumer, wanted.length > 0 ? await log.readEvents(unit, wanted) : []);
    const held = await this.settle(unit, consumer, claim, { lessons, ahead, upTo, reached: merged.keys.slice(0, consumer.onError === 'halt' ? upTo.length + 1 : undefined) });
    lessons.outcome = { held, handled: wanted.length, tries: lessons.tries };
    const checkpoints = lastOfShards(upTo);
    if (checkpoints.length > 0) await store.advance(unit, claim, checkpoints);
    const paused = await this.pauseForCommonCause(unit, consumer, lessons.outcome);
    if (paused) return { handled: wanted.length, advanced: checkpoints.length, more: false, stopped: paused };
    return {
      handled: wanted.length,
      advanced: checkpoints.length,
      whole: claim.heads !== undefined && claim.heads.heads.size === claim.checkpoints.length,
      more: merged.more && upTo.length === merged.keys.length,
      complete: !merged.more && upTo.length === merged.keys.length,
      waits: merged.more && merged.keys.length === 0,
      gap: read.gap,
    };
  }

  private async halt(unit: Unit, consumer: Consumer, reason: string): Promise<BatchResult> {
    await this.ports.store.setState(consumer.name, 'halted', reason, unit);
    return { handled: 0, more: false, stopped: reason };
  }

  private wanted<K extends EventKey>(consumer: Consumer, keys: readonly K[], held: readonly DeadLetter[], lessons?: Lessons): readonly K[] {
    const types = new Set(typesOf(consumer));
    const heldStreams = new Set(held.map(streamId));
    // Nothing failed and nothing is held, mostly: then a stream needs no name.
    if (heldStreams.size === 0 && !lessons?.failed.size) return keys.filter((key) => types.has(key.type));
    const ids = new Set(lessons?.failed.size ? keys.map(({ eventId }) => eventId) : []);
    return keys.filter((key) => {
      if (!types.has(key.type) || heldStreams.has(streamId(key))) return false;
      const failed = lessons?.failed.get(streamId(key));
      // One that this read has not, as in a log that went back, holds nothing back: nothing would ever be held for it.
      return !failed || !ids.has(failed.event.eventId) || key.seq < failed.event.seq;
    });
  }

  /**
   * Holds what failed; releases what was retried and went well. Only within this batch: a later try may read less than the one
   * that failed, or other shards, and a stream held before its turn would lose the events in between.
   */
  private async settle(unit: Unit, consumer: Consumer, claim: Claim, { lessons, ahead, upTo, reached }: Settlement): Promise<readonly Failed[]> {
    const { letters, settings, store } = this.ports;
    const reachedIds = new Set(lessons.failed.size > 0 ? reached.map(({ eventId }) => eventId) : []);
    const held = [...lessons.failed.values()].filter(({ event }) => reachedIds.has(event.eventId));
    for (const { event, cause } of held) {
      const before = ahead.find((letter) => streamId(letter) === streamId(event));
      const attempts = before?.eventId === event.eventId ? before.attempts + 1 : 1;
      const parked = attempts >= settings.consumerAttempts;
      await letters.hold(unit, deadLetter(consumer, claim, event, { cause, attempts, parked, retryInMs: retryDelay(attempts, settings.consumerBackoffMs) }));
      if (parked && consumer.onError === 'halt') await store.setState(consumer.name, 'halted', `${event.type} in ${event.stream}: ${describeError(cause)}`, unit);
    }
    if (ahead.length === 0) return held;
    const passed = new Set(upTo.map(({ eventId }) => eventId));
    const heldStreams = new Set(held.map(({ event }) => streamId(event))); // a stream has one letter, and that is the new one
    for (const letter of ahead) if (passed.has(letter.eventId) && !heldStreams.has(streamId(letter))) await letters.release(unit, letter);
    return held;
  }

  /** Why it was paused, if it was. What is held by then stays held, and is tried again when the consumer is resumed. */
  private async pauseForCommonCause(unit: Unit, consumer: Consumer, outcome: BatchOutcome): Promise<string | undefined> {
    // One that halts meets the same stream over and over.
    const streak = consumer.onError === 'park' ? this.streaks.after(consumer.name, outcome) : undefined;
    if (!streak || streak.length < COMMON_CAUSE_STREAMS) return undefined;
    const reason = `the same error on ${streak.length} streams running: ${describeError(outcome.held.at(-1)?.cause)}`;
    await this.ports.store.setState(consumer.name, 'paused', reason, unit);
    return `it was paused, since there was ${reason}. Mend the cause, then call resume('${consumer.name}') of Consumers`;
  }

  /** Turns a failure into what the next try leaves out. @throws what is nobody's fault, the caller's own, or cannot be narrowed. */
  private learn(error: unknown, request: BatchRequest, lessons: Lessons, tried: number): void {
    const cause = error instanceof EventFailure ? error.cause : error;
    if (this.ports.units.isTransient(cause)) throw cause;
    if (error instanceof EventFailure) {
      if (request.isOwn?.(error.failed)) throw cause;
      lessons.failed.set(streamId(error.failed), { event: keyOf(error.failed), cause, counted: lessons.counted.get(error.failed.eventId) });
      return;
    }
    if (tried < 2) throw error;
    lessons.maxEvents = Math.max(1, Math.floor(Math.min(lessons.maxEvents, tried) / 2));
  }
}

/** Why a consumer may not run: its state, or event types that only newer code knows. */
export function whyStopped(consumer: Consumer, claim: Claim): string | undefined {
  if (claim.state !== 'running') return `it is ${claim.state}`;
  if (claim.version !== undefined && consumer.version < claim.version)
    return `its rows were rebuilt by version ${claim.version} of its code, and this is version ${consumer.version}`;
  const unknown = unknownTypes(consumer, claim.types);
  return unknown.length > 0 ? `another version of its code also handles ${unknown.join(', ')}, which this one does not` : undefined;
}

function lastOfShards(keys: readonly EventKey[]): Checkpoint[] {
  const last = new Map<number, EventKey>();
  for (const key of keys) last.set(key.shard, key);
  return [...last.values()].map(({ shard, seq, eventId }) => ({ shard, seq, eventId }));
}
