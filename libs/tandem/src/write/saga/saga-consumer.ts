import type { Type } from '@nestjs/common';
import { TandemError } from '../../kernel/errors.js';
import { HANDLER_TIMEOUT_MS } from '../../kernel/in-time.js';
import { type MessageFacts, runWithMessage } from '../../kernel/message-context.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from '../../events/consumer.js';
import { factsOfEvent } from '../../events/event-metadata.js';
import { onMarks, type OnMark } from '../../events/on.js';
import type { JobOutbox } from '../../jobs/job-outbox.js';
import type { NewJob } from '../../jobs/job-store.js';
import { newJob } from '../../jobs/new-job.js';
import { durableSagaOf } from './durable-saga.js';
import { outputsOf } from './saga-outputs.js';

/** So many sagas may lead from one to the next: more is a circle. */
export const MAX_SAGA_DEPTH = 32;

type Handler = (event: object, metadata: ConsumedEvent['metadata']) => unknown;

/** The consumer that runs a `@DurableSaga`. A saga calls nothing and writes nothing itself: it maps an event to commands. */
export function sagaConsumer(instance: object, outbox: JobOutbox, handlerTimeoutMs = HANDLER_TIMEOUT_MS): Consumer {
  const sagaClass = instance.constructor as Type;
  const { name, renamedFrom, startFrom } = durableSagaOf(sagaClass)!;
  const marks = onMarks(sagaClass);
  return {
    name,
    kind: 'saga',
    consumerClass: sagaClass,
    events: [...new Set(marks.map(({ event }) => event))],
    version: 1,
    startFrom,
    renamedFrom,
    parallelism: 1,
    onError: 'park',
    runBy: 'worker',
    entities: [],
    async handle(unit: Unit, events: readonly ConsumedEvent[]): Promise<void> {
      const jobs: NewJob[] = [];
      for (const consumed of events) jobs.push(...(await jobsOf({ instance, saga: name, marks, handlerTimeoutMs }, consumed)));
      await outbox.put(unit, jobs);
    },
  };
}

interface RunningSaga {
  readonly instance: object;
  readonly saga: string;
  readonly marks: readonly OnMark[];
  readonly handlerTimeoutMs: number;
}

async function jobsOf({ handlerTimeoutMs, instance, marks, saga }: RunningSaga, consumed: ConsumedEvent): Promise<NewJob[]> {
  const { event, metadata, stored } = consumed;
  const facts = factsOfEvent(metadata);
  const jobs: NewJob[] = [];
  try {
    for (const { method } of marks.filter((mark) => mark.event === event.constructor)) {
      // Looked up at each call, so that a spy on the instance is seen.
      const returned = runWithMessage(facts, () => (instance as Record<string, Handler>)[method]!(event, metadata), {});
      const call = { saga, where: `${instance.constructor.name}.${method}`, eventId: stored.eventId, timeoutMs: handlerTimeoutMs };
      for (const command of await outputsOf(call, returned)) jobs.push(newJob(command, deeper(facts, saga), { dedupeKey: `${saga}:${stored.eventId}:${method}:${jobs.length}` }));
    }
  } catch (cause) {
    throw new EventFailure(stored, cause);
  }
  return jobs;
}

/** The facts of what a saga makes of an event. @throws TANDEM_SAGA_DEPTH */
function deeper(facts: MessageFacts, saga: string): MessageFacts {
  const depth = (facts.depth ?? 0) + 1;
  if (depth <= MAX_SAGA_DEPTH) return { ...facts, depth };
  throw new TandemError('TANDEM_SAGA_DEPTH', `${MAX_SAGA_DEPTH} sagas, one after the other, have led to event ${facts.messageId}, and "${saga}" would be the next`, {
    data: { saga },
  });
}
