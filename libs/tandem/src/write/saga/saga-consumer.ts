import type { Type } from '@nestjs/common';
import { isObservable, lastValueFrom, type Observable, toArray } from 'rxjs';
import { runWithMessage } from '../../kernel/message-context.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type ConsumedEvent, type Consumer, EventFailure } from '../../events/consumer.js';
import { factsOfEvent } from '../../events/event-metadata.js';
import { onMarks, type OnMark } from '../../events/on.js';
import { type JobOutbox, newJob } from '../../jobs/job-outbox.js';
import type { NewJob } from '../../jobs/job-store.js';
import { durableSagaOf } from './durable-saga.js';

type Handler = (event: object, metadata: ConsumedEvent['metadata']) => unknown;

/** The consumer that runs a `@DurableSaga`. A saga calls nothing and writes nothing itself: it maps an event to commands. */
export function sagaConsumer(instance: object, outbox: JobOutbox): Consumer {
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
      for (const consumed of events) jobs.push(...(await jobsOf(instance, name, marks, consumed)));
      await outbox.put(unit, jobs);
    },
  };
}

async function jobsOf(instance: object, saga: string, marks: readonly OnMark[], consumed: ConsumedEvent): Promise<NewJob[]> {
  const { event, metadata, stored } = consumed;
  const facts = factsOfEvent(metadata);
  const jobs: NewJob[] = [];
  try {
    for (const { method } of marks.filter((mark) => mark.event === event.constructor)) {
      // Looked up at each call, so that a spy on the instance is seen.
      const result = await runWithMessage(facts, () => (instance as Record<string, Handler>)[method]!(event, metadata), {});
      for (const command of await commandsOf(result)) jobs.push(newJob(command, facts, `${saga}:${stored.eventId}:${method}:${jobs.length}`));
    }
  } catch (cause) {
    throw new EventFailure(stored, cause);
  }
  return jobs;
}

async function commandsOf(result: unknown): Promise<readonly object[]> {
  if (result === undefined || result === null) return [];
  if (isObservable(result)) return await lastValueFrom((result as Observable<object>).pipe(toArray()));
  return Array.isArray(result) ? (result as object[]) : [result as object];
}
