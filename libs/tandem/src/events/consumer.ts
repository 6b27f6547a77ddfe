/**
 * A *consumer* is anything that reads the log: a projection, a saga or a durable handler. It has an explicit, stable name, a set of event types,
 * and one *checkpoint* per shard. A *batch* is one transaction: lock checkpoints (the lock is the claim), read, handle, write
 * the checkpoints, COMMIT. A *held* stream is one whose event failed: it waits in the dead letters and its later events queue
 * behind it, everything else moves on.
 */
import type { Type } from '@nestjs/common';
import type { Side, Unit } from '../kernel/unit-of-work.js';
import { domainEventOf } from './domain-event.js';
import type { EventMetadata, StoredEvent } from './event-log.js';
import { conditionText, type RunCondition } from './run-condition.js';

export interface ConsumedEvent {
  readonly event: object;
  readonly metadata: EventMetadata;
  readonly stored: StoredEvent;
}

/** Thrown by {@link Consumer.handle} to name the event that failed. Anything else blames the whole batch. */
export class EventFailure extends Error {
  constructor(
    readonly failed: StoredEvent,
    override readonly cause: unknown,
  ) {
    super(`event ${failed.eventId} (${failed.type}) failed`, { cause });
    this.name = 'EventFailure';
  }
}

export interface Consumer {
  /** Stored with checkpoints: renaming it is an explicit act. */
  readonly name: string;
  readonly kind: 'projection' | 'saga' | 'handler';
  /** The class that declares it, for messages. */
  readonly consumerClass: Type;
  /** Event classes it handles. */
  readonly events: readonly Type<object>[];
  /** Event types that it no longer handles; what is registered for them passes it by. */
  readonly retiredTypes?: readonly string[];
  readonly version: number;
  readonly startFrom: 'beginning' | 'now';
  /** The name under which it may still be registered. */
  readonly renamedFrom?: string;
  /** How many batches may run at once over the fleet. 1 keeps cause before effect across streams. */
  readonly parallelism: number;
  /** `park` holds back the failed stream, `halt` the whole consumer. */
  readonly onError: 'park' | 'halt';
  /** `command`: the command that appended folds it before its COMMIT. `worker`: a wake-up does. */
  readonly runBy: 'command' | 'worker';
  /** Undefined: a worker runs it as soon as it is behind. */
  readonly waitsFor?: RunCondition;
  /** Entities whose rows a batch changes; cached results that read them go. */
  readonly entities: readonly Type[];
  /** Handles events in order within the unit's transaction. @throws EventFailure naming the event where that is known. */
  handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void>;
}

/** What a saga does are jobs, which are on the log's side; handlers are where the write model is. */
export const sideOf = ({ kind }: Consumer): Side => (kind === 'projection' ? 'read' : 'log');

/** Stored event types that a consumer handles. */
export const typesOf = (consumer: Consumer): readonly string[] => consumer.events.map((eventClass) => domainEventOf(eventClass)!.name);

/** For people: when it is brought up to date. */
export const syncText = ({ runBy, waitsFor }: Consumer): string => (runBy === 'command' ? 'immediate' : waitsFor ? conditionText(waitsFor) : 'eventual');
