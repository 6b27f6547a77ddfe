import { Injectable, type Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { handledEvents } from '../kernel/handler-metadata.js';
import { HANDLER_TIMEOUT_MS, inTime } from '../kernel/in-time.js';
import { runWithMessage } from '../kernel/message-context.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from './consumer.js';
import { durableOf } from './durable.js';
import { factsOfEvent } from './event-metadata.js';

type Run = (event: object) => Promise<unknown>;

/** How the `@Durable` handlers of this application are called: with their guards, interceptors and pipes. Filled when CqrsModule binds them. */
@Injectable()
export class DurableHandlers {
  private readonly bound = new Map<Type, Run>();

  bind(handlerClass: Type, run: Run): void {
    this.bound.set(handlerClass, run);
  }

  /** The consumer that a `@Durable` class declares. */
  consumerOf(handlerClass: Type, handlerTimeoutMs = HANDLER_TIMEOUT_MS): Consumer {
    const { name, renamedFrom, startFrom } = durableOf(handlerClass)!;
    return {
      name,
      kind: 'handler',
      consumerClass: handlerClass,
      events: [...new Set(handledEvents(handlerClass))],
      version: 1,
      startFrom,
      renamedFrom,
      parallelism: 1,
      onError: 'park',
      runBy: 'worker',
      entities: [],
      handle: async (_unit: Unit, events: readonly ConsumedEvent[]): Promise<void> => {
        for (const consumed of events) await this.handle(handlerClass, consumed, handlerTimeoutMs);
      },
    };
  }

  private async handle(handlerClass: Type, { event, metadata, stored }: ConsumedEvent, handlerTimeoutMs: number): Promise<void> {
    const run = this.bound.get(handlerClass);
    // Not the event's fault: the batch is tried again.
    if (!run) throw new TandemError('TANDEM_WIRING', `${handlerClass.name} is @Durable but was never bound: CqrsModule has not started yet, or does not know it`);
    try {
      await inTime(
        runWithMessage(factsOfEvent(metadata), () => run(event), {}),
        handlerTimeoutMs,
        `${handlerClass.name}.handle`,
      );
    } catch (cause) {
      throw new EventFailure(stored, cause);
    }
  }
}
