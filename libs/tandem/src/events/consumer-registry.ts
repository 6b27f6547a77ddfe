import { Injectable, type Type } from '@nestjs/common';
import { TandemError } from '../kernel/errors.js';
import { type Consumer, typesOf } from './consumer.js';
import { domainEventOf } from './domain-event.js';

/** The consumers of this application, by name; filled at start-up, before anything is served. */
@Injectable()
export class ConsumerRegistry {
  private readonly byName = new Map<string, Consumer>();
  private readonly byType = new Map<string, Consumer[]>();
  private readonly retired = new Set<string>();

  add(consumers: readonly Consumer[]): void {
    for (const consumer of consumers) {
      this.byName.set(consumer.name, consumer);
      for (const type of typesOf(consumer)) this.byType.set(type, [...(this.byType.get(type) ?? []), consumer]);
    }
  }

  /** Registered, but given up by this application's code. */
  retire(names: readonly string[]): void {
    for (const name of names) this.retired.add(name);
  }

  isRetired(name: string): boolean {
    return this.retired.has(name);
  }

  get retiredNames(): readonly string[] {
    return [...this.retired];
  }

  get consumers(): readonly Consumer[] {
    return [...this.byName.values()];
  }

  /** @throws TANDEM_WIRING for a name that this application's code does not have. */
  named(name: string): Consumer {
    const consumer = this.byName.get(name);
    if (!consumer) throw new TandemError('TANDEM_WIRING', `there is no projection or saga "${name}" in this application; it has ${[...this.byName.keys()].join(', ') || 'none'}`);
    return consumer;
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** The class that a stored event type is read back as, or undefined when nothing here handles it. */
  eventClassOf(type: string): Type<object> | undefined {
    return this.byType.get(type)?.[0]?.events.find((eventClass) => domainEventOf(eventClass)!.name === type);
  }

  /** Consumers that handle any of these stored event types. */
  handling(types: Iterable<string>): readonly Consumer[] {
    const found = new Set<Consumer>();
    for (const type of types) for (const consumer of this.byType.get(type) ?? []) found.add(consumer);
    return [...found];
  }

  /** Projections that write rows of these entities; all projections when it is not known what is read. */
  readingInto(entities: readonly Type[] | undefined): readonly Consumer[] {
    return this.consumers.filter(
      (consumer) => consumer.kind === 'projection' && (!entities || consumer.entities.length === 0 || consumer.entities.some((entity) => entities.includes(entity))),
    );
  }
}
