import type { Type } from '@nestjs/common';
import { placeOf, type Provided } from '../kernel/registry/application-map.js';
import { handledEvents } from '../kernel/handler-metadata.js';
import { domainEventOf } from './domain-event.js';
import { durableOf } from './durable.js';
import { onMarks } from './on.js';

/** A projection, saga or durable handler class that the application provides. */
export interface DeclaredConsumer extends Provided {
  readonly name: string;
}

/** Mistakes in consumers, and which of them can run all the same. */
export function checkConsumers(declared: readonly DeclaredConsumer[]): { readonly problems: string[]; readonly sound: DeclaredConsumer[] } {
  const problems = new Set<string>();
  const byName = new Map<string, DeclaredConsumer>();
  const byClass = new Map<unknown, DeclaredConsumer>();
  for (const consumer of declared) {
    const own = ownProblems(consumer);
    const [first, twin] = [byName.get(consumer.name), byClass.get(consumer.type)];
    if (first) own.push(`"${consumer.name}" is the name of both ${placeOf(first)} and ${placeOf(consumer)}`);
    else if (twin && twin.name !== consumer.name)
      own.push(`${placeOf(consumer)} is both "${twin.name}" and "${consumer.name}": a class is one projection, saga or durable handler`);
    for (const problem of own) problems.add(problem);
    byClass.set(consumer.type, consumer);
    if (own.length === 0) byName.set(consumer.name, consumer);
  }
  return { problems: [...problems], sound: [...byName.values()] };
}

function ownProblems(consumer: DeclaredConsumer): string[] {
  const isHandler = durableOf(consumer.type) !== undefined;
  const events = isHandler ? handledEvents(consumer.type) : onMarks(consumer.type).map(({ event }) => event);
  if (!consumer.instance) return [`${placeOf(consumer)} is request-scoped, but ${isHandler ? 'a durable handler' : 'a projection or saga'} runs without a request`];
  if (events.length === 0) return [`${placeOf(consumer)} has ${isHandler ? '@Durable but no @EventsHandler' : 'no method with @On or @OnDelta'}`];
  const strangers = new Set(events.filter((event) => !domainEventOf(event)));
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
