import type { Type } from '@nestjs/common';
import { placeOf, type Provided } from '../kernel/registry/application-map.js';
import { handledEvents } from '../kernel/handler-metadata.js';
import { domainEventOf } from './domain-event.js';
import { onMarks } from './on.js';

/** A projection or saga class that the application provides. */
export interface DeclaredConsumer extends Provided {
  readonly name: string;
}

/** Mistakes in projections and sagas, and which of them can run all the same. */
export function checkConsumers(declared: readonly DeclaredConsumer[]): { readonly problems: string[]; readonly sound: DeclaredConsumer[] } {
  const problems: string[] = [];
  const byName = new Map<string, DeclaredConsumer>();
  for (const consumer of declared) {
    const own = ownProblems(consumer);
    const first = byName.get(consumer.name);
    if (first) own.push(`"${consumer.name}" is the name of both ${placeOf(first)} and ${placeOf(consumer)}`);
    problems.push(...own);
    if (own.length === 0) byName.set(consumer.name, consumer);
  }
  return { problems, sound: [...byName.values()] };
}

function ownProblems(consumer: DeclaredConsumer): string[] {
  const marks = onMarks(consumer.type);
  if (!consumer.instance) return [`${placeOf(consumer)} is request-scoped, but a projection or saga runs without a request`];
  if (marks.length === 0) return [`${placeOf(consumer)} has no method with @On or @OnDelta`];
  const strangers = new Set(marks.map(({ event }) => event).filter((event) => !domainEventOf(event)));
  return [...strangers].map((event) => `${event.name} has no @DomainEvent, but ${placeOf(consumer)} has a method for it`);
}

/** Two event classes with one stored name: what is read back could be either. */
export function eventNameProblems(provided: readonly Provided[]): string[] {
  const seen = new Map<string, { readonly event: Type<object>; readonly by: Provided }>();
  const problems = new Set<string>();
  for (const by of provided) {
    for (const event of [...onMarks(by.type).map((mark) => mark.event), ...handledEvents(by.type)]) {
      const name = domainEventOf(event)?.name;
      if (name === undefined) continue;
      const first = seen.get(name);
      if (!first) seen.set(name, { event, by });
      else if (first.event !== event)
        problems.add(`"${name}" is the name of both ${first.event.name}, which ${placeOf(first.by)} handles, and ${event.name}, which ${placeOf(by)} handles`);
    }
  }
  return [...problems];
}
