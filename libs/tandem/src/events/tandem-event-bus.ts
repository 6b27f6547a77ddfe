import { AsyncResource } from 'node:async_hooks';
import { Inject, Injectable, type Type } from '@nestjs/common';
import { type AsyncContext, EventBus, type IEvent, UnhandledExceptionBus } from '@nestjs/cqrs';
import { TandemError } from '../kernel/errors.js';
import { handlerClassOf, HandlerPipeline } from '../kernel/handler-pipeline.js';
import { nextMessage, runWithMessage } from '../kernel/message-context.js';
import { currentUnit, UnitOfWork } from '../kernel/unit-of-work.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { domainEventOf, isDomainEvent } from './domain-event.js';
import { durableOf } from './durable.js';
import { DurableHandlers } from './durable-handlers.js';
import { EventCapture } from './event-capture.js';

type HandlerWrapper = Parameters<EventBus['bind']>[0];

/**
 * The EventBus of @nestjs/cqrs, durable: what a unit of work publishes reaches in-process handlers and sagas after its COMMIT, and domain
 * events go onto the log with it. So handlers read what the command wrote, see nothing of a command that failed, and see the events of one
 * that was repeated once. Where no unit is open other events go to them at once, as ever. A handler that fails is reported to the
 * UnhandledExceptionBus and undoes nothing.
 */
@Injectable()
export class TandemEventBus extends EventBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(EventCapture) private readonly capture!: EventCapture;
  @Inject(UnitOfWork) private readonly units!: UnitOfWork;
  @Inject(UnhandledExceptionBus) private readonly unhandled!: UnhandledExceptionBus;
  @Inject(ConsumerRegistry) private readonly registry!: ConsumerRegistry;
  @Inject(DurableHandlers) private readonly durable!: DurableHandlers;
  /** Stored name → the class that was first published under it. */
  private readonly published = new Map<string, Type<object>>();

  /** Outside of a unit of work a domain event gets one of its own: the promise resolves after its COMMIT. */
  override publish<E extends IEvent>(event: E, dispatcherOrContext?: unknown, context?: AsyncContext): unknown {
    const pass = () => super.publish(event, dispatcherOrContext, context as AsyncContext) as unknown;
    return isDomainEvent(event) ? this.take([event], [event], pass) : this.pass([event], pass);
  }

  /** As `publish`, all of them in one unit of work. */
  override publishAll<E extends IEvent>(events: readonly E[], dispatcherOrContext?: unknown, context?: AsyncContext): unknown {
    // Copied first: AggregateRoot.commit() empties the list that it passes.
    const all = [...(events ?? [])];
    const durable = all.filter(isDomainEvent);
    const pass = () => super.publishAll(all, dispatcherOrContext, context as AsyncContext) as unknown;
    if (durable.length > 0) return this.take(durable, all, pass);
    const passed = this.pass(all, pass);
    // A publisher that takes one event at a time answers with a list, which may be awaited as one.
    return passed ?? (this.publisher.publishAll ? undefined : all.map(() => undefined));
  }

  override bind(handler: HandlerWrapper, id: string): void {
    const handlerClass = handlerClassOf(handler as never);
    const run = this.pipeline.bind(handler as never, 'handle');
    // A worker calls it, from the log.
    if (durableOf(handlerClass)) return this.durable.bind(handlerClass, run);
    const handle = (event: object) => runWithMessage(nextMessage(), () => run(event));
    // @nestjs/cqrs calls `instance.handle` and names `constructor` in its error log; nothing else of the wrapper.
    const facade = { constructor: handlerClass, isDependencyTreeStatic: () => true, instance: { handle } };
    super.bind(facade as unknown as HandlerWrapper, id);
  }

  private take(durable: object[], all: readonly object[], pass: () => unknown): Promise<void> | undefined {
    for (const event of durable) this.refuseSharedName(event.constructor as Type<object>);
    const taken = this.capture.take(durable, this.later(all, pass));
    // Nobody has to await `publish`, and `commit()` cannot be awaited at all.
    taken?.catch((exception: unknown) => this.unhandled.publish({ cause: durable[0] as IEvent, exception }));
    return taken;
  }

  /** Events without a place in the log: with the COMMIT of the open unit, or at once. */
  private pass(events: readonly object[], pass: () => unknown): unknown {
    const unit = currentUnit();
    if (unit?.kind !== 'write' || !unit.isOpen) return this.units.outside(pass);
    unit.afterCommit(this.later(events, pass));
    return undefined;
  }

  /** `pass` as it will run after COMMIT: in the asynchronous context of who published, but not in the unit. */
  private later(events: readonly object[], pass: () => unknown): () => void {
    // Not AsyncResource.bind: on Node 20 it also makes a deprecated property, for each command.
    const context = new AsyncResource('tandem.later');
    return () => context.runInAsyncScope(() => this.units.outside(() => this.report(events, pass)));
  }

  /** What is read back from the log would be of the other class. A class that is only published is not known before. */
  private refuseSharedName(eventClass: Type<object>): void {
    const { name } = domainEventOf(eventClass)!;
    const handled = this.registry.eventClassOf(name);
    const first = handled ?? this.published.get(name);
    if (!first) this.published.set(name, eventClass);
    if (!first || first === eventClass) return;
    const how = handled ? 'a projection or saga handles' : 'was published before';
    throw new TandemError('TANDEM_WIRING', `"${name}" is the name of both ${first.name}, which ${how}, and ${eventClass.name}, which was published now`, {
      next: 'Give one of them another name: what is stored under a name is read back as one class.',
    });
  }

  /** A publisher of the application's own may throw or reject. */
  private report(events: readonly object[], work: () => unknown): void {
    const failed = (exception: unknown) => void this.unhandled.publish({ cause: events[0] as IEvent, exception });
    try {
      void Promise.resolve(work()).catch(failed);
    } catch (exception) {
      failed(exception);
    }
  }
}
