/** What compiles is the test: `@ts-expect-error` fails the type check where nothing is wrong. */
import { Command } from '@nestjs/cqrs';
import { EMPTY, of } from 'rxjs';
import { expect, it } from 'vitest';
import { DomainEvent } from '../../events/domain-event.js';
import type { EventMetadata } from '../../events/event-log.js';
import { On } from '../../events/on.js';
import { DurableSaga } from './durable-saga.js';

@DomainEvent('spec.happened', { version: 1, stream: (e) => ['thing', e.id] })
class Happened {
  constructor(readonly id: string) {}
}
class Ship extends Command<void> {}
class Bill extends Command<{ readonly id: string }> {}

@DurableSaga('spec.all-forms')
class AllForms {
  @On(Happened) one(_event: Happened): Ship {
    return new Ship();
  }
  @On(Happened) several(_event: Happened) {
    return [new Ship(), new Bill()];
  }
  @On(Happened) perhaps(event: Happened) {
    return event.id === '' ? undefined : new Ship();
  }
  @On(Happened) async later(_event: Happened, _metadata: EventMetadata) {
    return [new Ship()];
  }
  @On(Happened) observed(event: Happened) {
    return event.id === '' ? EMPTY : of(new Ship(), new Bill());
  }
  @On(Happened) nothing(_event: Happened): void {}
  onModuleInit(): Promise<void> {
    return Promise.resolve();
  }
  private name(): string {
    return 'a private method is nobody else’s';
  }
  readonly limit = this.name().length;
}

// @ts-expect-error a text is no command
@DurableSaga('spec.text')
class ReturnsText {
  @On(Happened) happened(_event: Happened) {
    return 'ship it';
  }
}

// @ts-expect-error nor is an event
@DurableSaga('spec.event')
class ReturnsEvent {
  @On(Happened) async happened(event: Happened) {
    return [event];
  }
}

// @ts-expect-error nor what an Observable emits
@DurableSaga('spec.observable')
class ReturnsNumbers {
  @On(Happened) happened(_event: Happened) {
    return of(1, 2);
  }
}

it('refuses sagas that return something else than commands when they are compiled', () => {
  for (const saga of [AllForms, ReturnsText, ReturnsEvent, ReturnsNumbers]) expect(saga).toBeTypeOf('function');
});
