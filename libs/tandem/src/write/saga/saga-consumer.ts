import type { Type } from '@nestjs/common';
import { isObservable, lastValueFrom, type Observable, toArray } from 'rxjs';
import { HANDLER_TIMEOUT_MS, inTime } from '../../kernel/in-time.js';
import { runWithMessage } from '../../kernel/message-context.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from '../../events/consumer.js';
import { factsOfEvent } from '../../events/event-metadata.js';
import { onMarks, type OnMark } from '../../events/on.js';
import type { JobOutbox } from '../../jobs/job-outbox.js';
import type { NewJob } from '../../jobs/job-store.js';
import { newJob } from '../../jobs/new-job.js';
import { durableSagaOf } from './durable-saga.js';

type Handler = (event: object, metadata: ConsumedEvent['metadata']) => unknown;

/** The consumer that runs a `@DurableSaga`. A saga calls nothing and writes nothing itself: it maps an event to commands. */
export function sagaConsumer(instance: object, outbox: JobOutbox, handlerTimeoutMs = HANDLER_TIMEOUT_MS): Consumer {
  const sagaClass = instance.constructor as Type;
  const { name, startFrom } = durableSagaOf(sagaClass)!;
  const marks = onMarks(sagaClass);
  return {
    name,
    kind: 'saga',
    consumerClass: sagaClass,
    events: [...new Set(marks.map(({ event }) => event))],
    version: 1,
    startFrom,
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
      const returned = runWithMessage(facts, () => commandsOf((instance as Record<string, Handler>)[method]!(event, metadata)), {});
      for (const command of await inTime(returned, handlerTimeoutMs, `${instance.constructor.name}.${method}`))
        jobs.push(newJob(command, facts, { dedupeKey: `${saga}:${stored.eventId}:${method}:${jobs.length}` }));
    }
  } catch (cause) {
    throw new EventFailure(stored, cause);
  }
  return jobs;
}

async function commandsOf(returned: unknown): Promise<readonly object[]> {
  const result = await returned;
  if (result === undefined || result === null) return [];
  if (isObservable(result)) return await lastValueFrom((result as Observable<object>).pipe(toArray()));
  return Array.isArray(result) ? (result as object[]) : [result as object];
}
